"""The run protocol in Postgres: what may run, when, and whose it is. No worker, no NATS: the statements alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from msgspec.structs import replace

from treadle import json
from treadle.checkpoint.fenced import FencedSaver
from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.db.new_run import NewRun
from treadle.db.pool import Pool
from treadle.db.queue import DuePlace, Queue, WaitingPlace
from treadle.db.runs import CREATE, FINISH, HEARTBEAT, Claim, Created, Lease, Outcome, Progress, Runs
from treadle.db.threads import Threads
from treadle.model import CancelAction, MultitaskStrategy, Run, RunStatus, Thread

# Long enough for a statement to have come back, had nothing held it.
HELD_SECS = 0.3
SUCCESS = Outcome(status="success", resting="idle", output=b'{"a":1}', values=b'{"a":1}', interrupts=b"{}")


class Bench:
    """The protocol's steps on one thread, as workers and API take them."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.runs = Runs(pool)
        self.queue = Queue(pool)
        self.threads = Threads(pool)
        self.thread_id = uuid4()
        self.lease = Lease("worker", secs=30, max_crashes=3)

    def new(self, **fields: Any) -> NewRun:
        known: dict[str, Any] = {
            "run_id": uuid4(),
            "thread_id": self.thread_id,
            "assistant_id": uuid4(),
            "graph_id": "agent",
            "kwargs": {"input": {"a": 1}},
            "if_not_exists": "create",
        }
        return NewRun(**{**known, **fields})

    async def ask(self, strategy: MultitaskStrategy = MultitaskStrategy.ENQUEUE, **fields: Any) -> Created:
        return await self.runs.create(self.new(strategy=strategy, **fields))

    async def create(self, strategy: MultitaskStrategy = MultitaskStrategy.ENQUEUE, **fields: Any) -> Run:
        created = await self.ask(strategy, **fields)
        assert created.run is not None, created
        return created.run

    async def claim(self) -> Claim:
        return await self.runs.claim(self.thread_id, self.lease)

    async def claimed(self) -> Run:
        return taken(await self.claim())

    async def claimed_alone(self) -> Run:
        """As the process that has the run for itself claims it."""
        return taken(await self.runs.claim(self.thread_id, replace(self.lease, worker="alone", alone=True)))

    async def die_alone(self) -> None:
        """The process that makes a solitary attempt has died, and its worker says so."""
        assert await self.runs.died_alone(self.thread_id, "alone") is not None

    async def lose_all_workers(self) -> None:
        """As often as it takes for a run to be given up with the next claim."""
        for _ in range(self.lease.max_crashes - 1):
            await self.end_lease(await self.claimed())
        assert (await self.claim()).outcome == "solitary"
        await self.claimed_alone()
        await self.die_alone()

    async def finish(self, run: Run, outcome: Outcome = SUCCESS, *, claim_next: bool = True) -> Claim:
        return await self.runs.finish(run, outcome, self.lease, claim_next=claim_next)

    async def hand_back(self, run: Run) -> Claim:
        return await self.runs.hand_back(run)

    async def cancel(self, run: Run, action: CancelAction = CancelAction.INTERRUPT) -> tuple[str, str | None]:
        cancelled = await self.runs.cancel(self.thread_id, run.run_id, action)
        return cancelled.outcome, cancelled.status

    async def end_lease(self, run: Run) -> None:
        """As if the run's worker had been silent for too long."""
        ended = "update treadle.lease set lease_until = clock_timestamp() - interval '1 s' where run_id = $1"
        await self.pool.execute(ended, run.run_id)

    async def come_due(self, run: Run) -> None:
        """As if the run's delay had passed."""
        past = "update treadle.run set not_before = clock_timestamp() - interval '1 ms' where run_id = $1"
        await self.pool.execute(past, run.run_id)

    async def row(self, run: Run) -> Run | None:
        return await self.runs.get(self.thread_id, run.run_id)

    async def status(self, run: Run) -> RunStatus | None:
        row = await self.row(run)
        return None if row is None else row.status

    async def thread(self) -> Thread:
        thread = await self.threads.get(self.thread_id)
        assert thread is not None
        return thread


def taken(claim: Claim) -> Run:
    assert claim.outcome == "claimed", claim
    assert claim.run is not None
    return claim.run


def ended(claim: Claim) -> list[tuple[UUID, str]]:
    return [(run.run_id, run.status) for run in claim.ended]


async def held(task: asyncio.Future[Any]) -> bool:
    """Whether something keeps the task waiting."""
    done, _ = await asyncio.wait({task}, timeout=HELD_SECS)
    return not done


@pytest.fixture
def bench(pool: Pool) -> Bench:
    return Bench(pool)


# Create


async def test_a_created_run_is_pending_and_makes_its_thread_busy(bench: Bench) -> None:
    run = await bench.create(metadata={"a": "b\0"}, thread_metadata={"graph_id": "agent"})

    assert (run.status, run.attempt, run.kwargs) == ("pending", 0, {"input": {"a": 1}})
    assert run.metadata == {"a": "b"}
    thread = await bench.thread()
    assert (thread.status, thread.metadata) == ("busy", {"graph_id": "agent"})


async def test_a_missing_thread_is_made_only_when_asked(bench: Bench) -> None:
    assert (await bench.ask(if_not_exists="reject")).outcome == "thread_not_found"
    assert (await bench.ask(if_not_exists="create")).outcome == "created"
    assert (await bench.ask(if_not_exists="reject")).outcome == "created"


# Claim and order


async def test_a_claim_takes_the_run_under_a_lease_and_counts_the_attempt(bench: Bench) -> None:
    created = await bench.create()

    run = await bench.claimed()

    assert (run.run_id, run.status, run.attempt, run.crashes) == (created.run_id, "running", 1, 0)
    assert run.started_at is not None
    lease: Any = await bench.pool.fetchrow("select * from treadle.lease")
    assert (lease["run_id"], lease["attempt"], lease["worker"]) == (run.run_id, 1, "worker")


async def test_runs_are_claimed_in_the_order_in_which_they_were_accepted(bench: Bench) -> None:
    created = [await bench.create() for _ in range(5)]

    claim = await bench.claim()
    order: list[UUID] = []
    while claim.run is not None:
        order.append(claim.run.run_id)
        claim = await bench.finish(claim.run)

    assert order == [run.run_id for run in created]
    assert claim.outcome == "idle"


async def test_a_thread_whose_run_is_leased_gives_nothing_and_says_for_how_long(bench: Bench) -> None:
    await bench.create()
    await bench.create()
    await bench.claimed()

    claim = await bench.claim()

    assert (claim.outcome, claim.run) == ("leased", None)
    assert claim.retry_in is not None
    assert 25 < claim.retry_in <= 30


async def test_of_many_claims_at_once_one_gets_the_run(bench: Bench) -> None:
    await bench.create()
    await bench.create()

    claims = await asyncio.gather(*(bench.claim() for _ in range(8)))

    assert sorted(claim.outcome for claim in claims) == ["claimed"] + ["leased"] * 7


async def test_a_thread_with_nothing_to_do_and_a_missing_one_are_idle(bench: Bench) -> None:
    assert (await bench.claim()).outcome == "idle"

    await bench.finish(taken(await claim_new(bench)))

    assert (await bench.claim()).outcome == "idle"


async def claim_new(bench: Bench) -> Claim:
    await bench.create()
    return await bench.claim()


# Finish, and the next run


async def test_finish_writes_outcome_and_state_and_claims_the_next_run(bench: Bench) -> None:
    first, second = await bench.create(), await bench.create()

    claim = await bench.finish(await bench.claimed())

    assert ended(claim) == [(first.run_id, "success")]
    assert taken(claim).run_id == second.run_id
    row = await bench.row(first)
    assert row is not None
    assert (row.status, row.output, row.error) == ("success", {"a": 1}, None)
    assert row.ended_at is not None
    thread = await bench.thread()
    assert (thread.status, thread.values) == ("busy", {"a": 1})


async def test_a_worker_that_drains_claims_no_next_run(bench: Bench) -> None:
    await bench.create()
    second = await bench.create()

    claim = await bench.finish(await bench.claimed(), claim_next=False)

    assert (claim.outcome, claim.run) == ("idle", None)
    assert await bench.status(second) == "pending"
    assert (await bench.thread()).status == "busy"


@pytest.mark.parametrize("resting", ["idle", "interrupted", "error"])
async def test_a_thread_rests_as_its_last_run_left_it(bench: Bench, resting: Any) -> None:
    await bench.create()

    await bench.finish(await bench.claimed(), Outcome(status="success", resting=resting))

    assert (await bench.thread()).status == resting


async def test_an_outcome_without_state_leaves_the_threads_own(bench: Bench) -> None:
    await bench.create()
    await bench.create()
    second = taken(await bench.finish(await bench.claimed()))

    failure = b'{"error":"ValueError","message":"no loom"}'
    await bench.finish(second, Outcome(status="error", resting="error", error=failure))

    thread = await bench.thread()
    assert (thread.values, thread.error) == ({"a": 1}, {"error": "ValueError", "message": "no loom"})


async def test_outcomes_with_a_nul_are_kept_as_far_as_postgres_can(bench: Bench) -> None:
    """What a graph says must not stop its run from ending."""
    run = await bench.create()
    data = json.encode({"text": "a\0b", "escape": "\\u0000"})

    await bench.finish(
        await bench.claimed(), Outcome(status="error", resting="error", output=data, error=data, values=data)
    )

    row = await bench.row(run)
    assert row is not None
    assert row.output == {"text": "a\0b", "escape": "\\u0000"}
    assert (await bench.thread()).values == {"text": "ab", "escape": "\\u0000"}


async def test_an_outcome_that_postgres_cannot_store_becomes_an_error_that_says_so(bench: Bench) -> None:
    """Or else the run would be tried again and again, and end the same way each time."""
    run, following = await bench.create(), await bench.create()

    claim = await bench.finish(
        await bench.claimed(), Outcome(status="success", resting="idle", values=b'{"number": 1e999999}')
    )

    assert ended(claim) == [(run.run_id, "error")]
    assert taken(claim).run_id == following.run_id
    row = await bench.row(run)
    assert row is not None
    assert row.error["error"] == "OutcomeNotStorable"
    assert "value overflows numeric format" in row.error["message"]


async def test_finish_sees_a_run_that_was_accepted_while_it_waited(bench: Bench) -> None:
    """Invariant ("mind the snapshot"): the next run is looked for in a statement that begins under the thread's lock.

    Otherwise this run would be pending with nobody to run it: its wake-up was dropped, for the thread was busy.
    """
    await bench.create()
    running = await bench.claimed()
    new = bench.new()
    async with bench.pool.acquire() as api:
        accepting = api.transaction()
        await accepting.start()
        await api.fetch(CREATE, *arguments_of(new))
        finishing = asyncio.create_task(bench.finish(running))
        assert await held(finishing), "finish did not wait for the thread's lock"
        await accepting.commit()

    claim = await asyncio.wait_for(finishing, 5)

    assert taken(claim).run_id == new.run_id


async def test_a_run_that_is_accepted_while_another_finishes_finds_the_thread_free(bench: Bench) -> None:
    """The other order: the finish did not see the run, so its wake-up must."""
    await bench.create()
    running = await bench.claimed()
    async with bench.pool.acquire() as worker:
        finishing = worker.transaction()
        await finishing.start()
        await worker.fetch(
            FINISH, bench.thread_id, running.run_id, 1, "success", None, None, None, None, "idle", "worker",
            timedelta(seconds=30), 3, False, True,
        )  # fmt: skip
        accepting = asyncio.create_task(bench.create())
        assert await held(accepting), "create did not wait for the thread's lock"
        await finishing.commit()

    created = await asyncio.wait_for(accepting, 5)

    assert (await bench.claimed()).run_id == created.run_id


def arguments_of(new: NewRun) -> list[Any]:
    """A run as the parameters of CREATE."""
    return [
        new.run_id, new.thread_id, new.assistant_id, new.graph_id, new.kwargs, "{}", new.strategy,
        new.if_not_exists, None, new.route, new.stateless, "{}", "{}", None, *new.lifetime,
    ]  # fmt: skip


async def test_no_run_is_left_behind_when_many_are_accepted_while_others_finish(bench: Bench) -> None:
    """Invariant: a run that is pending on an idle thread has a wake-up on its way, whatever the interleaving.

    Workers here do what the real ones do: one claim per wake-up, dropped when the thread is leased or idle, and
    run after run of the thread while `finish` gives one. Nothing sweeps up after them.
    """
    wakeups: asyncio.Queue[None] = asyncio.Queue()
    order: list[int] = []

    async def accept() -> None:
        for _ in range(20):
            await bench.create()
            wakeups.put_nowait(None)

    async def work() -> None:
        while True:
            await wakeups.get()
            claim = await bench.claim()
            while claim.run is not None:
                order.append(claim.run.seq)
                claim = await bench.finish(claim.run)
            wakeups.task_done()

    workers = [asyncio.create_task(work()) for _ in range(4)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(accept() for _ in range(5)))
        await wakeups.join()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)

    statuses = await bench.pool.fetch("select status, count(*) from treadle.run group by status")
    assert [tuple(row) for row in statuses] == [("success", 100)]
    assert order == sorted(order)
    assert (await bench.thread()).status == "idle"


# Multitask strategies


async def test_reject_accepts_nothing_while_a_run_is_pending_or_running(bench: Bench) -> None:
    await bench.create()
    before = await bench.thread()

    assert (await bench.ask(MultitaskStrategy.REJECT)).outcome == "busy"
    running = await bench.claimed()
    assert (await bench.ask(MultitaskStrategy.REJECT)).outcome == "busy"

    assert len(await bench.runs.of_thread(bench.thread_id)) == 1
    assert (await bench.thread()).updated_at == before.updated_at
    await bench.finish(running)
    assert (await bench.ask(MultitaskStrategy.REJECT)).outcome == "created"


async def test_enqueue_touches_no_other_run(bench: Bench) -> None:
    await bench.create()
    running = await bench.claimed()
    waiting = await bench.create()

    created = await bench.ask(MultitaskStrategy.ENQUEUE)

    assert created.cancelled == ()
    assert [await bench.status(run) for run in (running, waiting)] == ["running", "pending"]


@pytest.mark.parametrize(
    ("strategy", "left"),
    [(MultitaskStrategy.INTERRUPT, "interrupted"), (MultitaskStrategy.ROLLBACK, None)],
)
async def test_interrupt_and_rollback_stop_what_the_thread_has_and_run_next(
    bench: Bench, strategy: MultitaskStrategy, left: str | None
) -> None:
    await bench.create()
    running = await bench.claimed()
    waiting = await bench.create()

    created = await bench.ask(strategy)

    assert created.run is not None
    assert [(run.run_id, run.outcome) for run in created.cancelled] == [
        (running.run_id, "signalled"),
        (waiting.run_id, "ended"),
    ]
    assert [await bench.status(run) for run in (running, waiting)] == ["running", left]
    # The running one ends when its worker has stopped it, and the new one is next.
    claim = await bench.finish(running)
    assert ended(claim) == [(running.run_id, left or "rolled_back")]
    assert taken(claim).run_id == created.run.run_id
    assert await bench.status(running) == left


# Cancel


@pytest.mark.parametrize("action", list(CancelAction))
@pytest.mark.parametrize("resting", ["idle", "interrupted", "error"])
async def test_a_run_that_never_began_leads_its_thread_back_to_where_it_was(
    bench: Bench, resting: Any, action: CancelAction
) -> None:
    await bench.create()
    await bench.finish(await bench.claimed(), Outcome(status="success", resting=resting))
    run = await bench.create()
    assert (await bench.thread()).status == "busy"

    await bench.cancel(run, action)

    assert (await bench.thread()).status == resting


@pytest.mark.parametrize(
    ("action", "status"), [(CancelAction.INTERRUPT, "interrupted"), (CancelAction.ROLLBACK, "rolled_back")]
)
async def test_a_pending_run_is_cancelled_at_once(bench: Bench, action: CancelAction, status: str) -> None:
    run = await bench.create()

    assert await bench.cancel(run, action) == ("ended", status)

    assert await bench.status(run) == (status if action is CancelAction.INTERRUPT else None)
    assert (await bench.thread()).status == "idle"
    assert (await bench.claim()).outcome == "idle"


async def test_a_running_run_is_marked_for_its_worker_who_sees_it_at_the_next_heartbeat(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()

    assert await bench.cancel(run) == ("signalled", "running")

    [beat] = await bench.pool.fetch(HEARTBEAT, [run.run_id], [1], timedelta(seconds=30))
    assert beat["cancel_action"] == "interrupt"


@pytest.mark.parametrize(
    ("action", "status"), [(CancelAction.INTERRUPT, "interrupted"), (CancelAction.ROLLBACK, "rolled_back")]
)
async def test_a_cancel_that_was_accepted_wins_over_how_the_graph_ended(
    bench: Bench, action: CancelAction, status: str
) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.cancel(run, action)

    claim = await bench.finish(run, SUCCESS)

    assert ended(claim) == [(run.run_id, status)]
    assert (await bench.thread()).status == "idle"


async def test_a_rollback_that_was_accepted_is_not_taken_back_by_an_interrupt(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.cancel(run, CancelAction.ROLLBACK)

    assert await bench.cancel(run, CancelAction.INTERRUPT) == ("signalled", "running")
    await bench.create(MultitaskStrategy.INTERRUPT)

    assert ended(await bench.finish(run)) == [(run.run_id, "rolled_back")]


async def test_a_cancelled_run_whose_worker_died_ends_without_another_attempt(bench: Bench) -> None:
    await bench.create()
    run, following = await bench.claimed(), await bench.create()
    await bench.cancel(run)
    await bench.end_lease(run)

    claim = await bench.claim()

    assert ended(claim) == [(run.run_id, "interrupted")]
    assert taken(claim).run_id == following.run_id
    row = await bench.row(run)
    assert row is not None
    assert row.error is None
    assert await bench.pool.fetch("select from treadle.dead_letter") == []


async def test_a_cancelled_run_that_is_handed_back_ends(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.cancel(run)

    assert ended(await bench.hand_back(run)) == [(run.run_id, "interrupted")]


async def test_an_ended_run_and_an_unknown_one_cannot_be_cancelled(bench: Bench) -> None:
    run = await bench.create()
    await bench.finish(await bench.claimed())

    assert await bench.cancel(run) == ("finished", "success")
    assert (await bench.runs.cancel(bench.thread_id, uuid4(), CancelAction.INTERRUPT)).outcome == "not_found"
    assert (await bench.runs.cancel(uuid4(), run.run_id, CancelAction.INTERRUPT)).outcome == "not_found"


# Rollback and checkpoints


@pytest.fixture
async def checkpoints(dsn: str) -> AsyncGenerator[ConnectionPool]:
    async with checkpoint_pool(dsn, size=2, service="test") as pool:
        yield pool


def at(bench: Bench, checkpoint_id: str | None = None, run: Run | None = None) -> RunnableConfig:
    place = {"thread_id": str(bench.thread_id), "checkpoint_ns": ""}
    config: dict[str, Any] = {
        "configurable": place if checkpoint_id is None else {**place, "checkpoint_id": checkpoint_id}
    }
    return cast(
        RunnableConfig, config if run is None else {**config, "metadata": {"run_id": str(run.run_id)}}
    )


async def execute(bench: Bench, checkpoints: ConnectionPool, run: Run, version: str) -> RunnableConfig:
    """What a run leaves: pending writes on the checkpoint that it found, then a checkpoint of its own."""
    saver = FencedSaver(checkpoints, run.run_id, run.attempt)
    found = await saver.aget_tuple(at(bench))
    if found is not None:
        await saver.aput_writes(found.config, [("list", [f"pending {version}"])], f"task {version}")
    checkpoint = {
        **empty_checkpoint(),
        "channel_values": {"list": [version]},
        "channel_versions": {"list": version},
    }
    parent = None if found is None else found.checkpoint["id"]
    return await saver.aput(at(bench, parent, run), cast(Any, checkpoint), {"step": 1}, {"list": version})


async def test_rollback_takes_away_all_that_the_run_did_and_nothing_else(
    bench: Bench, checkpoints: ConnectionPool
) -> None:
    await bench.create()
    first = await bench.claimed()
    await execute(bench, checkpoints, first, "1")
    reader = AsyncPostgresSaver(checkpoints)
    before = await reader.aget_tuple(at(bench))
    await bench.finish(first)
    await bench.create()
    second = await bench.claimed()
    written = await execute(bench, checkpoints, second, "2")
    assert await reader.aget_tuple(written) is not None

    await bench.cancel(second, CancelAction.ROLLBACK)
    claim = await bench.finish(second)

    assert ended(claim) == [(second.run_id, "rolled_back")]
    assert await reader.aget_tuple(at(bench)) == before
    assert await reader.aget_tuple(written) is None
    versions = await bench.pool.fetch("select version from checkpoint_blobs")
    assert [row["version"] for row in versions] == ["1"]
    assert (await bench.thread()).values == {"a": 1}


async def test_removing_a_run_keeps_the_values_that_a_running_one_has_read(
    bench: Bench, checkpoints: ConnectionPool
) -> None:
    """Its next checkpoint names them by their version, and does not write them again."""
    first, second, third = [await bench.create() for _ in range(3)]
    running = await bench.claimed()
    await execute(bench, checkpoints, running, "1")
    running = taken(await bench.finish(running))
    reader = AsyncPostgresSaver(checkpoints)
    read = await reader.aget_tuple(at(bench))
    assert read is not None

    await bench.runs.delete(bench.thread_id, first.run_id)
    await bench.cancel(third, CancelAction.ROLLBACK)
    saver = FencedSaver(checkpoints, running.run_id, running.attempt)
    written = await saver.aput(at(bench, None, running), {**read.checkpoint, "id": "2"}, {"step": 2}, {})

    found = await reader.aget_tuple(written)
    assert found is not None
    assert running.run_id == second.run_id
    assert found.checkpoint["channel_values"] == {"list": ["1"]}


async def test_interrupt_keeps_the_runs_checkpoints(bench: Bench, checkpoints: ConnectionPool) -> None:
    await bench.create()
    run = await bench.claimed()
    written = await execute(bench, checkpoints, run, "1")

    await bench.cancel(run, CancelAction.INTERRUPT)
    await bench.finish(run)

    assert await AsyncPostgresSaver(checkpoints).aget_tuple(written) is not None


async def test_a_run_has_progress_once_an_attempt_of_it_has_written(
    bench: Bench, checkpoints: ConnectionPool
) -> None:
    await bench.create()
    first = await bench.claimed()
    assert await bench.runs.progress(first) == Progress(checkpointed=False, written=False)
    await execute(bench, checkpoints, first, "1")
    assert await bench.runs.progress(first) == Progress(checkpointed=True, written=True)
    await bench.finish(first)

    await bench.create()
    second = await bench.claimed()
    assert await bench.runs.progress(second) == Progress(checkpointed=False, written=False)
    saver = FencedSaver(checkpoints, second.run_id, second.attempt)
    found = await saver.aget_tuple(at(bench))
    assert found is not None
    await saver.aput_writes(found.config, [("list", ["half a step"])], "task")
    assert await bench.runs.progress(second) == Progress(checkpointed=False, written=True)


@pytest.mark.parametrize(
    ("task", "channel", "answered"),
    [
        (str(UUID(int=0)), "__resume__", False),
        ("task", "__resume__", True),
        ("task", "__interrupt__", True),
        ("task", "list", False),
    ],
    ids=["it waits", "it was taken", "the next question was asked", "none was given"],
)
async def test_a_runs_answer_is_taken_once_a_task_has_it(
    bench: Bench, checkpoints: ConnectionPool, task: str, channel: str, answered: bool
) -> None:
    """Also without a checkpoint: a node that asks twice makes none in between."""
    await bench.create()
    first = await bench.claimed()
    written = await execute(bench, checkpoints, first, "1")
    await bench.finish(first)
    await bench.create()
    second = await bench.claimed()
    saver = FencedSaver(checkpoints, second.run_id, second.attempt)

    await saver.aput_writes(written, [(channel, ["x"])], task)

    assert await bench.runs.progress(second) == Progress(checkpointed=False, written=True, answered=answered)


async def test_writes_whose_checkpoint_was_never_committed_are_no_progress_and_go_with_the_run(
    bench: Bench, checkpoints: ConnectionPool
) -> None:
    """Under `async` a step's writes may be committed before the checkpoint they belong to. If the worker dies in between,
    an attempt that went on from there would go on from what other runs have left, and do nothing."""
    await bench.create()
    run = await bench.claimed()
    saver = FencedSaver(checkpoints, run.run_id, run.attempt)
    place = {"thread_id": str(bench.thread_id), "checkpoint_id": "never-committed"}
    for ns in ("", "child"):
        await saver.aput_writes(
            {"configurable": {**place, "checkpoint_ns": ns}}, [("list", ["half a step"])], "task"
        )
    assert await bench.runs.progress(run) == Progress(checkpointed=False, written=False)

    await bench.end_lease(run)
    await bench.finish(await bench.claimed())
    assert await bench.pool.fetch("select from checkpoint_writes") == []


# Crash, takeover, fencing


async def test_a_run_whose_lease_ended_goes_to_the_next_worker_as_a_new_attempt(bench: Bench) -> None:
    created = await bench.create()
    await bench.end_lease(await bench.claimed())

    again = await bench.claimed()

    assert (again.run_id, again.attempt, again.crashes) == (created.run_id, 2, 1)
    assert (await bench.claim()).outcome == "leased"


async def test_a_running_run_without_any_lease_is_taken_over(bench: Bench) -> None:
    """Nothing of Treadle's removes it alone; whoever does must not lose the thread."""
    await bench.create()
    run = await bench.claimed()
    await bench.pool.execute("delete from treadle.lease")

    async with asyncio.timeout(5):
        again = await bench.claimed()

    assert (again.run_id, again.attempt) == (run.run_id, 2)


async def test_of_many_takeovers_at_once_one_succeeds(bench: Bench) -> None:
    await bench.create()
    await bench.end_lease(await bench.claimed())

    claims = await asyncio.gather(*(bench.claim() for _ in range(8)))

    assert sorted(claim.outcome for claim in claims) == ["claimed"] + ["leased"] * 7


async def test_a_heartbeat_extends_only_the_leases_of_its_own_attempts(bench: Bench) -> None:
    await bench.create()
    old = await bench.claimed()
    await bench.end_lease(old)
    new = await bench.claimed()

    beats = await bench.pool.fetch(
        HEARTBEAT, [old.run_id, new.run_id, uuid4()], [old.attempt, new.attempt, 1], timedelta(seconds=60)
    )

    assert [row["run_id"] for row in beats] == [new.run_id]
    claim = await bench.claim()
    assert claim.retry_in is not None
    assert claim.retry_in > 30


async def test_a_late_heartbeat_revives_a_lease_that_nobody_took(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.end_lease(run)

    await bench.pool.fetch(HEARTBEAT, [run.run_id], [run.attempt], timedelta(seconds=30))

    assert (await bench.claim()).outcome == "leased"


async def test_a_heartbeat_that_comes_before_its_run_is_given_up_saves_it(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.cancel(run)
    await bench.end_lease(run)
    async with bench.pool.acquire() as worker:
        beat = worker.transaction()
        await beat.start()
        await worker.fetch(HEARTBEAT, [run.run_id], [run.attempt], timedelta(seconds=30))

        looking = asyncio.ensure_future(bench.claim())
        assert await held(looking), "the look did not wait for the heartbeat"
        await beat.commit()

    assert (await asyncio.wait_for(looking, 5)).outcome == "leased"
    assert await bench.status(run) == "running"


@pytest.mark.parametrize("step", [Bench.finish, Bench.hand_back])
async def test_an_older_attempt_changes_nothing(
    bench: Bench, step: Callable[[Bench, Run], Awaitable[Claim]]
) -> None:
    await bench.create()
    waiting = await bench.create()
    old = await bench.claimed()
    await bench.end_lease(old)
    new = await bench.claimed()
    before = await bench.thread()

    claim = await step(bench, old)

    assert (claim.outcome, claim.run, claim.ended) == ("fenced", None, ())
    assert await bench.row(old) == new
    assert await bench.status(waiting) == "pending"
    assert await bench.thread() == before


@pytest.mark.parametrize("step", [Bench.finish, Bench.hand_back])
async def test_an_attempt_whose_run_ended_or_is_gone_changes_nothing(
    bench: Bench, step: Callable[[Bench, Run], Awaitable[Claim]]
) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.finish(run)
    assert (await step(bench, run)).outcome == "fenced"

    await bench.threads.delete([bench.thread_id])
    assert (await step(bench, run)).outcome == "fenced"


async def test_a_run_that_lost_too_many_workers_ends_as_error_with_a_dead_letter(bench: Bench) -> None:
    created, following = await bench.create(), await bench.create()
    await bench.lose_all_workers()

    claim = await bench.claim()

    assert ended(claim) == [(created.run_id, "error")]
    assert taken(claim).run_id == following.run_id
    row = await bench.row(created)
    assert row is not None
    assert (row.status, row.attempt, row.error["error"]) == ("error", 3, "WorkerLost")
    assert "3 times (BG_JOB_MAX_RETRIES), the last time in a process of its own" in row.error["message"]
    [letter] = await bench.pool.fetch("select * from treadle.dead_letter")
    assert (letter["run_id"], letter["attempts"], letter["reason"]) == (
        row.run_id,
        3,
        "worker lost 3 times, the last time in a process of its own: alone",
    )
    assert letter["kwargs"] == created.kwargs


async def test_a_thread_whose_last_run_lost_too_many_workers_rests_in_error(bench: Bench) -> None:
    await bench.create()
    await bench.lose_all_workers()

    assert (await bench.claim()).outcome == "idle"

    thread = await bench.thread()
    assert (thread.status, thread.error["error"]) == ("error", "WorkerLost")


# Hand back


async def test_a_run_that_is_handed_back_keeps_its_place_and_uses_up_no_attempt(bench: Bench) -> None:
    first = await bench.create()
    await bench.create()
    running = await bench.claimed()

    assert (await bench.hand_back(running)).outcome == "idle"

    row = await bench.row(first)
    assert row is not None
    assert (row.status, row.attempt, row.crashes) == ("pending", 1, 0)
    assert (await bench.thread()).status == "busy"
    again = await bench.claimed()
    assert (again.run_id, again.attempt, again.crashes) == (first.run_id, 2, 0)
    assert again.started_at == running.started_at


async def test_a_run_that_has_begun_goes_before_one_that_has_come_due_since(bench: Bench) -> None:
    """Its next attempt goes on at the thread's newest checkpoint, which nobody else may have made."""
    delayed = await bench.create(delay_secs=60)
    begun, later = await bench.create(), await bench.create()
    await bench.hand_back(await bench.claimed())
    await bench.come_due(delayed)

    [overdue] = await bench.queue.overdue(0, 10, WaitingPlace(begun.created_at, 0))
    assert overdue.run_id == begun.run_id
    claim = await bench.claim()
    order = list[UUID]()
    while claim.run is not None:
        order.append(claim.run.run_id)
        claim = await bench.finish(claim.run)
    assert order == [begun.run_id, delayed.run_id, later.run_id]


# Delayed runs


async def test_a_delayed_run_is_claimed_only_when_it_is_due(bench: Bench) -> None:
    delayed = await bench.create(delay_secs=60)
    assert (await bench.claim()).outcome == "idle"
    assert (await bench.thread()).status == "busy"

    await bench.come_due(delayed)

    assert (await bench.claimed()).run_id == delayed.run_id


async def test_a_delayed_run_holds_up_no_other(bench: Bench) -> None:
    delayed = await bench.create(delay_secs=60)
    prompt = await bench.create()

    claim = await bench.claim()
    assert taken(claim).run_id == prompt.run_id
    assert (await bench.finish(taken(claim))).outcome == "idle"

    await bench.come_due(delayed)
    assert (await bench.claimed()).run_id == delayed.run_id


async def test_the_scheduler_finds_runs_that_have_come_due_since_its_last_look(bench: Bench) -> None:
    start = DuePlace.at(await bench.queue.clock())
    first, second = await bench.create(delay_secs=60), await bench.create(delay_secs=60)
    assert await bench.queue.come_due(start, 10) == []

    await bench.come_due(first)
    [due] = await bench.queue.come_due(start, 10)
    await bench.come_due(second)

    assert (due.run_id, due.thread_id, due.route) == (first.run_id, bench.thread_id, "default")
    assert [run.run_id for run in await bench.queue.come_due(DuePlace.of(due), 10)] == [second.run_id]


async def test_runs_that_are_due_at_the_same_moment_are_all_found_batch_by_batch(bench: Bench) -> None:
    place = DuePlace.at(await bench.queue.clock())
    runs = [await bench.create(delay_secs=60) for _ in range(5)]
    await bench.pool.execute("update treadle.run set not_before = clock_timestamp() where true")
    await bench.pool.execute("update treadle.run set not_before = (select min(not_before) from treadle.run)")

    found: list[UUID] = []
    while batch := await bench.queue.come_due(place, 2):
        found += [run.run_id for run in batch]
        place = DuePlace.of(batch[-1])

    assert sorted(found) == sorted(run.run_id for run in runs)


# What the sweeper sees


async def test_only_heads_of_threads_without_a_running_run_are_overdue(bench: Bench) -> None:
    begin = WaitingPlace(await bench.queue.clock() - timedelta(hours=1), 0)
    head = await bench.create()
    await bench.create()
    await bench.create(delay_secs=60)

    [overdue] = await bench.queue.overdue(0, 10, begin)
    assert overdue.run_id == head.run_id
    assert await bench.queue.overdue(0, 10, overdue.place) == []
    assert await bench.queue.overdue(60, 10, begin) == []
    await bench.claimed()
    assert await bench.queue.overdue(0, 10, begin) == []


async def test_running_runs_without_a_living_lease_are_found(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()
    assert await bench.queue.leaseless(10) == []

    await bench.end_lease(run)

    [found] = await bench.queue.leaseless(10)
    assert (found.run_id, found.attempt) == (run.run_id, 1)
    assert found.waited_secs >= 1


# Stateless runs, and removal


async def test_the_thread_of_a_stateless_run_is_hidden_when_it_ends_but_its_result_can_be_read(
    bench: Bench,
) -> None:
    run = await bench.create(stateless=True)
    assert await bench.threads.forget_gone(0, 10) == 0

    await bench.finish(await bench.claimed())

    assert await bench.threads.get(bench.thread_id) is None
    assert await bench.row(run) is None
    kept = await bench.runs.get(bench.thread_id, run.run_id, gone=True)
    assert kept is not None
    assert kept.output == {"a": 1}
    assert (await bench.ask(if_not_exists="create")).outcome == "thread_not_found"
    assert await bench.threads.forget_gone(60, 10) == 0
    assert await bench.threads.forget_gone(0, 10) == 1
    assert await bench.runs.get(bench.thread_id, run.run_id, gone=True) is None


async def test_a_removed_thread_leaves_nothing(bench: Bench, checkpoints: ConnectionPool) -> None:
    await bench.create()
    run = await bench.claimed()
    await execute(bench, checkpoints, run, "1")

    assert await bench.threads.delete([bench.thread_id, uuid4()]) == [bench.thread_id]

    tables = (
        "treadle.thread",
        "treadle.run",
        "treadle.lease",
        "checkpoints",
        "checkpoint_blobs",
        "checkpoint_writes",
    )
    assert [await bench.pool.fetchval(f"select count(*) from {table}") for table in tables] == [0] * len(
        tables
    )
    assert await bench.threads.delete([bench.thread_id]) == []


async def test_who_waits_learns_which_runs_are_over(bench: Bench) -> None:
    over, rolled_back, waiting = await bench.create(), await bench.create(), await bench.create()
    await bench.cancel(rolled_back, CancelAction.ROLLBACK)
    await bench.finish(await bench.claimed(), claim_next=False)

    found = await bench.runs.ended([over.run_id, rolled_back.run_id, waiting.run_id])

    assert {run.run_id: run.status for run in found} == {
        over.run_id: "success",
        rolled_back.run_id: "rolled_back",
    }


async def test_an_ended_run_can_be_removed_with_its_checkpoints_and_a_living_one_not(
    bench: Bench, checkpoints: ConnectionPool
) -> None:
    await bench.create()
    run = await bench.claimed()
    await execute(bench, checkpoints, run, "1")
    assert await bench.runs.delete(bench.thread_id, run.run_id) == "active"

    await bench.finish(run)

    assert await bench.runs.delete(bench.thread_id, run.run_id) == "deleted"
    assert await bench.row(run) is None
    assert await AsyncPostgresSaver(checkpoints).aget_tuple(at(bench)) is None
    assert await bench.runs.delete(bench.thread_id, run.run_id) == "not_found"
