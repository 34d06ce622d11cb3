"""The promises of the run protocol, kept while processes die, hang and lose their servers."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Run
from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]

from tests.e2e.steps import begun, events, join, new_thread, numbers, values, wait
from tests.stack import Stack, marks, running_stack
from treadle_worker.drain import LAST_STEP_SECS
from treadle_worker.execution import STOP_GRACE_SECS

LEASE_SECS = 3.0
LEASE = {"TREADLE_LEASE_SECS": str(LEASE_SECS)}
# From the death of a worker to the takeover, and all that is left of twenty runs to do then.
TAKEOVER_SECS = LEASE_SECS + 5
# A worker that is told to stop begins no other step, and the one that is on has all the time that it needs.
LAST_STEP = {"TREADLE_LEASE_SECS": "60", "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": str(LAST_STEP_SECS)}


async def marked(log: Path, what: str, count: int, secs: float = 30) -> None:
    """Wait until a graph has left `count` marks of a kind."""
    async with asyncio.timeout(secs):
        async for _ in awatch(log.parent, step=10, rust_timeout=200, yield_on_timeout=True):
            if sum(mark[0] == what for mark in marks(log)) >= count:
                return


@asynccontextmanager
async def connection(stack: Stack) -> AsyncGenerator[asyncpg.Connection]:
    made = await asyncpg.connect(stack.servers.postgres.url)
    try:
        yield made
    finally:
        await made.close()


async def test_forty_runs_of_one_thread_run_one_after_the_other_over_four_workers(tmp_path: Path) -> None:
    log = tmp_path / "marks"
    async with running_stack("api", *["worker"] * 4, N_JOBS_PER_WORKER="3") as stack:
        client = stack.services("api")[0].client
        thread = await new_thread(client)
        runs = [
            await client.runs.create(
                thread,
                "marked",
                input={"log": str(log), "label": f"run{n}", "delay": 0.01},
                multitask_strategy="enqueue",
            )
            for n in range(40)
        ]
        await join(client, thread, runs[-1])
        done = (await values(client, thread))["done"]
    expected = [(what, f"run{n}") for n in range(40) for what in ("start", "end")]
    assert [(what, label) for what, label, _ in marks(log)] == expected
    assert done == [f"run{n}" for n in range(40)]


async def test_threads_do_not_wait_for_each_other(tmp_path: Path) -> None:
    log = tmp_path / "marks"
    async with running_stack("api", "worker", "worker", N_JOBS_PER_WORKER="4") as stack:
        client = stack.services("api")[0].client
        slow = await new_thread(client)
        body = {"log": str(log), "label": "slow", "delay": 60}
        await client.runs.create(slow, "marked", input=body)
        await client.runs.create(
            slow, "marked", input={**body, "label": "behind"}, multitask_strategy="enqueue"
        )
        await marked(log, "start", 1)
        others = [await new_thread(client) for _ in range(12)]
        await asyncio.gather(
            *(wait(client, other, "marked", input={"log": str(log), "label": "quick"}) for other in others)
        )
        await client.threads.delete(slow)
    assert Counter(label for what, label, _ in marks(log) if what == "end") == {"quick": 12}


async def test_runs_of_a_killed_worker_go_on_elsewhere_from_their_last_checkpoint(tmp_path: Path) -> None:
    """kill -9 in the middle of 20 runs: all succeed, finished nodes are not run again, within lease + 5 s."""
    log, gate = tmp_path / "marks", tmp_path / "gate"
    async with running_stack("api", "scheduler", N_JOBS_PER_WORKER="20", **LEASE) as stack:
        client = stack.services("api")[0].client
        victim = await stack.worker()
        threads = [await new_thread(client) for _ in range(20)]
        runs = [
            await client.runs.create(thread, "three_steps", input=input_of(log, gate), durability="sync")
            for thread in threads
        ]
        await marked(log, "dwell", 20)
        heir = await stack.worker()
        await victim.kill()
        killed = time.monotonic()
        gate.touch()
        await asyncio.gather(*(join(client, thread, run) for thread, run in zip(threads, runs, strict=True)))
        took = time.monotonic() - killed
        ended = [
            await client.runs.get(thread, run["run_id"]) for thread, run in zip(threads, runs, strict=True)
        ]
    assert Counter(run["status"] for run in ended) == {"success": 20}
    assert Counter((what, pid) for what, _, pid in marks(log)) == {
        ("prepare", victim.pid): 20,
        ("dwell", victim.pid): 20,
        ("dwell", heir.pid): 20,
        ("conclude", heir.pid): 20,
    }
    assert took < TAKEOVER_SECS


async def test_a_worker_that_was_paused_past_its_lease_changes_nothing(tmp_path: Path) -> None:
    """SIGSTOP, takeover, SIGCONT: what is kept of the run is the same before and after the zombie wakes."""
    log, gate = tmp_path / "marks", tmp_path / "gate"
    async with running_stack("api", "scheduler", **LEASE) as stack:
        client = stack.services("api")[0].client
        zombie = await stack.worker()
        thread = await new_thread(client)
        run = await client.runs.create(
            thread,
            "three_steps",
            input=input_of(log, gate),
            stream_mode=["values", "custom"],
            durability="sync",
        )
        await begun(client.runs.join_stream(thread, run["run_id"]))
        zombie.pause()
        heir = await stack.worker()
        await marked(log, "dwell", 2)
        gate.touch()
        await join(client, thread, run)
        before, told = await snapshot(stack, run["run_id"]), await everything(client, thread, run)
        zombie.resume()
        assert await zombie.logged("attempt 1")
        await wait(client, await new_thread(client), "steps", input={"text": "a"})
        assert await snapshot(stack, run["run_id"]) == before
        assert await everything(client, thread, run) == told
    assert [data["attempt"] for event, data, _ in told if event == "metadata"] == [1, 2]
    assert len({event_id for _, _, event_id in told}) == len(told)
    assert Counter(event for event, _, _ in told) == {"metadata": 2, "values": 5, "custom": 2}
    assert [(what, pid) for what, _, pid in marks(log)] == [
        ("prepare", zombie.pid),
        ("dwell", zombie.pid),
        ("dwell", heir.pid),
        ("conclude", heir.pid),
    ]


def input_of(log: Path, gate: Path, label: str = "run") -> dict[str, Any]:
    return {"log": str(log), "label": label, "gate": str(gate)}


async def everything(client: LangGraphClient, thread: str, run: Run) -> list[tuple[str, Any, str | None]]:
    """All events of a run, with their ids."""
    stream = client.runs.join_stream(thread, run["run_id"], last_event_id="-1")
    return [(part.event, part.data, part.id) async for part in stream]


async def snapshot(stack: Stack, run_id: str) -> list[Any]:
    """All that a run may change."""
    of_run, of_thread = (
        "where run_id = $1",
        "where thread_id = (select thread_id from treadle.run where run_id = $1)",
    )
    of_text = "where thread_id = (select thread_id::text from treadle.run where run_id = $1)"
    async with connection(stack) as db:
        return [
            await db.fetch(statement, run_id)
            for statement in (
                f"select status, attempt, crashes, output::text, ended_at from treadle.run {of_run}",
                f"select attempt, worker from treadle.lease {of_run}",
                f"select status, values::text, interrupts::text, updated_at from treadle.thread {of_thread}",
                f"select checkpoint_id, checkpoint::text from checkpoints {of_text} order by 1",
                f"select checkpoint_id, task_id, idx, blob from checkpoint_writes {of_text} order by 1, 2, 3",
                f"select channel, version, blob from checkpoint_blobs {of_text} order by 1, 2",
            )
        ]


async def test_a_join_through_another_api_process_misses_nothing_and_repeats_nothing() -> None:
    """50 joins at random moments, with 5 ms between events and with bursts."""
    async with running_stack("api", "api", "worker", N_JOBS_PER_WORKER="20") as stack:
        first, other = (service.client for service in stack.services("api"))
        chance = random.Random(20)
        shapes: list[dict[str, Any]] = [
            {"count": 100, "gap": 0.005, "burst": 1},
            {"count": 1000, "gap": 0.02, "burst": 20},
        ]
        for shape in shapes:
            joins = await asyncio.gather(*(one_join(first, other, shape, chance) for _ in range(25)))
            for joined in joins:
                assert [number for number, _ in joined] == list(range(shape["count"]))
                assert len({event_id for _, event_id in joined}) == len(joined)


async def one_join(
    first: LangGraphClient, other: LangGraphClient, shape: dict[str, Any], chance: random.Random
) -> list[tuple[int, str]]:
    thread = await new_thread(first)
    run = await first.runs.create(thread, "emitting", input=shape, stream_mode=["custom"])
    await asyncio.sleep(chance.uniform(0, 1.2))
    return await numbers(other.runs.join_stream(thread, run["run_id"]))


async def test_a_run_accepted_while_nats_is_down_runs_once_it_is_back() -> None:
    async with running_stack("api", "worker", "scheduler") as stack:
        client = stack.services("api")[0].client
        thread = await new_thread(client)
        await wait(client, thread, "steps", input={"text": "before"})
        await stack.servers.nats.stop()
        run = await client.runs.create(thread, "steps", input={"text": "during"})
        assert run["status"] == "pending"
        await stack.servers.nats.start()
        made = await join(client, thread, run)
        assert made["text"] == "DURING!"


async def test_without_redis_background_runs_and_wait_still_work() -> None:
    async with running_stack("api", "worker", "scheduler") as stack:
        client = stack.services("api")[0].client
        thread = await new_thread(client)
        await stack.servers.valkey.stop()
        made = await wait(client, thread, "steps", input={"text": "a"})
        assert made["text"] == "A!"
        run = await client.runs.create(thread, "steps", input={"text": "b"})
        assert (await join(client, thread, run))["text"] == "B!"
        slow = await client.runs.create(thread, "slow", input={"delay": 60})
        await client.runs.cancel(thread, slow["run_id"], wait=True)
        assert (await client.runs.get(thread, slow["run_id"]))["status"] == "interrupted"
        await stack.servers.valkey.start()
        async with asyncio.timeout(20):
            while not (told := await stream(client, thread)):
                continue
        assert (told[0], told[-1]) == ("metadata", "values")


async def stream(client: LangGraphClient, thread: str) -> list[str]:
    return [event for event, _ in await events(client.runs.stream(thread, "steps", input={"text": "c"}))]


async def test_a_node_that_blocks_longer_than_the_lease_keeps_all_leases(tmp_path: Path) -> None:
    log = tmp_path / "marks"
    async with running_stack("api", "scheduler", "worker", "worker", N_JOBS_PER_WORKER="3", **LEASE) as stack:
        client = stack.services("api")[0].client
        beside, blocked = await new_thread(client), await new_thread(client)
        given = {"log": str(log), "label": "beside", "delay": LEASE_SECS * 1.5}
        runs = [
            (beside, await client.runs.create(beside, "marked", input=given)),
            (blocked, await client.runs.create(blocked, "blocking", input={**given, "label": "blocked"})),
        ]
        for thread, run in runs:
            await join(client, thread, run)
        async with connection(stack) as db:
            attempts = await db.fetch("select attempt, status from treadle.run")
    assert [(row["attempt"], row["status"]) for row in attempts] == [(1, "success")] * 2


async def test_a_draining_worker_hands_its_run_to_another_at_once(tmp_path: Path) -> None:
    log, gate = tmp_path / "marks", tmp_path / "gate"
    async with running_stack("api", "worker", "worker", **LAST_STEP) as stack:
        client = stack.services("api")[0].client
        thread = await new_thread(client)
        run = await client.runs.create(thread, "three_steps", input=input_of(log, gate), durability="sync")
        await marked(log, "dwell", 1)
        taker = marks(log)[0][2]
        leaving, staying = sorted(stack.services("worker"), key=lambda worker: worker.pid != taker)
        leaving.signal(signal.SIGTERM)
        await leaving.logged("draining")
        gate.touch()
        assert await leaving.stop() == 0
        await join(client, thread, run)
        assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"
        async with connection(stack) as db:
            crashes = await db.fetchval("select crashes from treadle.run")
    assert crashes == 0
    assert [(what, pid) for what, _, pid in marks(log)] == [
        ("prepare", leaving.pid),
        ("dwell", leaving.pid),
        ("conclude", staying.pid),
    ]


async def test_a_run_that_comes_due_meanwhile_waits_for_one_that_was_handed_back(tmp_path: Path) -> None:
    """It was accepted before that one; the second attempt of that one must find its own checkpoint as the newest."""
    log, gate = tmp_path / "marks", tmp_path / "gate"
    async with running_stack("api", "worker", **LAST_STEP) as stack:
        client = stack.services("api")[0].client
        thread = await new_thread(client)
        delayed = await client.runs.create(
            thread, "three_steps", input=input_of(log, gate, "delayed"), after_seconds=3600
        )
        run = await client.runs.create(thread, "three_steps", input=input_of(log, gate))
        await marked(log, "dwell", 1)
        async with connection(stack) as db:
            await db.execute("update treadle.run set not_before = created_at where not_before is not null")
        [leaving] = stack.services("worker")
        leaving.signal(signal.SIGTERM)
        await leaving.logged("draining")
        gate.touch()
        await leaving.stop()
        await stack.worker()
        await join(client, thread, run)
        await join(client, thread, delayed)
    steps = ("prepare", "dwell", "conclude")
    assert [(label, what) for what, label, _ in marks(log)] == [
        (label, what) for label in ("run", "delayed") for what in steps
    ]


async def test_a_run_has_its_time_and_no_more(tmp_path: Path) -> None:
    async with running_stack("api", "worker", BG_JOB_TIMEOUT_SECS="0.5") as stack:
        client = stack.services("api")[0].client
        thread = await new_thread(client)
        answer = await wait(client, thread, "slow", input={"delay": 60}, raise_error=False)
        assert "BG_JOB_TIMEOUT_SECS" in answer["__error__"]["message"]
        assert (await client.runs.list(thread))[0]["status"] == "timeout"
        assert (await values(client, thread))["steps"] == ["before"]


async def test_a_node_that_swallows_its_cancellation_is_left_behind_and_writes_nothing(
    tmp_path: Path,
) -> None:
    log = tmp_path / "marks"
    async with running_stack("api", "worker") as stack:
        [api], [worker] = stack.services("api"), stack.services("worker")
        thread = await new_thread(api.client)
        given = {"log": str(log), "label": "run", "delay": STOP_GRACE_SECS + 1}
        run = await api.client.runs.create(thread, "stubborn", input=given)
        await marked(log, "stubborn", 1)
        await api.client.runs.cancel(thread, run["run_id"], wait=True)
        history = await api.client.threads.get_history(thread, limit=100)
        assert await worker.logged("which was left behind, has ended")
        assert (await api.client.runs.get(thread, run["run_id"]))["status"] == "interrupted"
        assert await api.client.threads.get_history(thread, limit=100) == history


async def test_a_worker_may_have_a_run_again_while_it_still_winds_up_the_attempt_that_it_lost(
    tmp_path: Path,
) -> None:
    log = tmp_path / "marks"
    async with running_stack("api", "worker", "scheduler", TREADLE_LEASE_SECS="1") as stack:
        [api], [worker] = stack.services("api"), stack.services("worker")
        thread = await new_thread(api.client)
        given = {"log": str(log), "label": "run", "delay": STOP_GRACE_SECS / 2}
        run = await api.client.runs.create(thread, "stubborn", input=given)
        await marked(log, "stubborn", 1)
        async with connection(stack) as db, db.transaction():
            await db.execute("update treadle.lease set lease_until = clock_timestamp() - interval '1 s'")
            await db.execute("select treadle.claim($1, 'another', '0.1 s', 9)", thread)
        await marked(log, "stubborn", 2)
        await join(api.client, thread, run)
        assert (await api.client.runs.get(thread, run["run_id"]))["status"] == "success"
        told = await everything(api.client, thread, run)
        assert worker.running, worker.text
    assert [data["attempt"] for event, data, _ in told if event == "metadata"] == [1, 3]
    assert told[-1][1]["done"] == ["stubborn"]


async def test_another_scheduler_takes_the_lead_when_the_leader_dies() -> None:
    """A run that only a sweep can find is found by the second one."""
    async with running_stack("api", "worker", TREADLE_LEADER_LEASE_SECS="1") as stack:
        client = stack.services("api")[0].client
        leader = await stack.scheduler()
        await leader.logged("leading")
        await stack.scheduler()
        await leader.kill()
        thread = await new_thread(client)
        await stack.servers.nats.stop()
        run = await client.runs.create(thread, "steps", input={"text": "a"})
        await stack.servers.nats.start()
        await join(client, thread, run)
        assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"


async def test_a_worker_that_waits_for_nats_says_so_and_stops_when_told() -> None:
    async with running_stack() as stack:
        await stack.servers.nats.stop()
        worker = await stack.spawn("worker")
        assert await worker.logged("waiting for NATS at")
        assert await worker.stop() == 0
        await stack.servers.nats.start()


async def test_an_outcome_that_postgres_refuses_stops_no_other_run() -> None:
    """A defect in what a run's end sets off must cost that run its end, for as long as it lasts, and nothing else."""
    async with running_stack("api", "worker", "scheduler", **LEASE) as stack, connection(stack) as postgres:
        client = stack.services("api")[0].client
        [worker] = stack.services("worker")
        await postgres.execute(
            """
            create function refuse() returns trigger language plpgsql as $$
            begin raise exception 'not this one'; end $$;
            create trigger refusing before update on treadle.run for each row
                when (new.metadata ? 'refused' and new.ended_at is not null) execute function refuse();
            """
        )
        thread = await new_thread(client)
        refused = await client.runs.create(thread, "steps", input={"text": "a"}, metadata={"refused": True})
        assert await worker.logged(f"the outcome of run {refused['run_id']} was refused")
        assert await wait(client, await new_thread(client), "steps", input={"text": "b"})
        await postgres.execute("drop trigger refusing on treadle.run")
        assert (await join(client, thread, refused))["text"] == "A!"
        assert (await client.runs.get(thread, refused["run_id"]))["status"] == "success"
