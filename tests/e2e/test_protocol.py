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

import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Run

from tests.chaos.faults.servers import redis_hangs
from tests.e2e.steps import events, join, new_thread, numbers, values, wait
from tests.marking import input_of, marked
from tests.stack import Service, Stack, marks, running_stack
from treadle_worker.drain import LAST_STEP_SECS
from treadle_worker.execution import STOP_GRACE_SECS

LEASE_SECS = 3.0
LEASE = {"TREADLE_LEASE_SECS": str(LEASE_SECS)}
# From the death of a worker to the takeover, and all that is left of twenty runs to do then.
TAKEOVER_SECS = LEASE_SECS + 5
# A worker that is told to stop begins no other step, and the one that is on has all the time that it needs.
LAST_STEP = {"TREADLE_LEASE_SECS": "60", "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": str(LAST_STEP_SECS)}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def many() -> AsyncGenerator[Stack]:
    """Two API processes, and four workers with seven slots each."""
    async with running_stack("api", "api", *["worker"] * 4, N_JOBS_PER_WORKER="7") as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def alone() -> AsyncGenerator[Stack]:
    """One process of each service, which nobody helps out."""
    async with running_stack("api", "worker", "scheduler", **LEASE) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bare() -> AsyncGenerator[Stack]:
    """An API process; the tests bring what else they need, and take it away."""
    async with running_stack("api") as stack:
        yield stack


@asynccontextmanager
async def staff(stack: Stack, *names: str, **settings: str) -> AsyncGenerator[list[Service]]:
    """Services that end with the block, those too that were started on the stack within it."""
    before = {name: stack.services(name) for name in names}
    try:
        yield await stack.start(*names, **settings)
    finally:
        came = [each for name in before for each in stack.services(name) if each not in before[name]]
        await asyncio.gather(*(each.stop() for each in came))


async def test_forty_runs_of_one_thread_run_one_after_the_other_over_four_workers(
    many: Stack, tmp_path: Path
) -> None:
    log = tmp_path / "marks"
    client = many.services("api")[0].client
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


async def test_threads_do_not_wait_for_each_other(many: Stack, tmp_path: Path) -> None:
    log = tmp_path / "marks"
    client = many.services("api")[0].client
    slow = await new_thread(client)
    body = {"log": str(log), "label": "slow", "delay": 60}
    await client.runs.create(slow, "marked", input=body)
    await client.runs.create(slow, "marked", input={**body, "label": "behind"}, multitask_strategy="enqueue")
    await marked(log, "start", 1)
    others = [await new_thread(client) for _ in range(12)]
    await asyncio.gather(
        *(wait(client, other, "marked", input={"log": str(log), "label": "quick"}) for other in others)
    )
    await client.threads.delete(slow)
    assert Counter(label for what, label, _ in marks(log) if what == "end") == {"quick": 12}


async def test_runs_of_a_killed_worker_go_on_elsewhere_from_their_last_checkpoint(
    bare: Stack, tmp_path: Path
) -> None:
    """kill -9 in the middle of 20 runs: all succeed, finished nodes are not run again, within lease + 5 s."""
    log, gate = tmp_path / "marks", tmp_path / "gate"
    client = bare.services("api")[0].client
    async with staff(bare, "worker", "scheduler", N_JOBS_PER_WORKER="20", **LEASE) as [victim, _]:
        threads = [await new_thread(client) for _ in range(20)]
        runs = [
            await client.runs.create(thread, "three_steps", input=input_of(log, gate), durability="sync")
            for thread in threads
        ]
        await marked(log, "dwell", 20)
        heir = await bare.worker(N_JOBS_PER_WORKER="20", **LEASE)
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


async def everything(client: LangGraphClient, thread: str, run: Run) -> list[tuple[str, Any, str | None]]:
    """All events of a run, with their ids."""
    stream = client.runs.join_stream(thread, run["run_id"], last_event_id="-1")
    return [(part.event, part.data, part.id) async for part in stream]


async def test_a_join_through_another_api_process_misses_nothing_and_repeats_nothing(many: Stack) -> None:
    """50 joins at random moments, with 5 ms between events and with bursts."""
    first, other = (service.client for service in many.services("api"))
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


async def test_a_run_accepted_while_nats_is_down_runs_once_it_is_back(alone: Stack) -> None:
    """One whose API process could still tell NATS of it, and one of a process that died before: a sweep finds that."""
    client = alone.services("api")[0].client
    thread, other = await new_thread(client), await new_thread(client)
    async with staff(alone, "api") as [doomed]:
        await wait(doomed.client, thread, "steps", input={"text": "before"})
        await alone.servers.nats.stop()
        run = await client.runs.create(thread, "steps", input={"text": "during"})
        untold = await doomed.client.runs.create(other, "steps", input={"text": "untold"})
        assert (run["status"], untold["status"]) == ("pending", "pending")
        await doomed.kill()
    await alone.servers.nats.start()
    assert (await join(client, thread, run))["text"] == "DURING!"
    assert (await join(client, other, untold))["text"] == "UNTOLD!"


async def test_without_redis_background_runs_and_wait_still_work(alone: Stack) -> None:
    client = alone.services("api")[0].client
    thread = await new_thread(client)
    await alone.servers.valkey.stop()
    made = await wait(client, thread, "steps", input={"text": "a"})
    assert made["text"] == "A!"
    run = await client.runs.create(thread, "steps", input={"text": "b"})
    assert (await join(client, thread, run))["text"] == "B!"
    slow = await client.runs.create(thread, "slow", input={"delay": 60})
    await client.runs.cancel(thread, slow["run_id"], wait=True)
    assert (await client.runs.get(thread, slow["run_id"]))["status"] == "interrupted"
    await alone.servers.valkey.start()
    async with asyncio.timeout(20):
        while not (told := await stream(client, thread)):
            continue
    assert (told[0], told[-1]) == ("metadata", "values")


async def test_a_run_that_follows_keeps_its_lease_while_redis_does_not_hear_of_the_end_before_it(
    bare: Stack,
) -> None:
    """The end of a run is told for two seconds at the most: longer than this lease."""
    client = bare.services("api")[0].client
    async with staff(bare, "worker", "scheduler", TREADLE_LEASE_SECS="1.5"):
        thread = await new_thread(client)
        assert await wait(client, thread, "steps", input={"text": "a"})
        async with redis_hangs(bare):
            runs = [await client.runs.create(thread, "steps", input={"text": "b"}) for _ in range(2)]
            await asyncio.gather(*(join(client, thread, run) for run in runs))
        async with bare.database() as database:
            rows = await database.fetch(
                "select status, attempt, crashes from treadle.run where thread_id = $1", thread
            )
    assert [tuple(row) for row in rows] == [("success", 1, 0)] * 3


async def stream(client: LangGraphClient, thread: str) -> list[str]:
    return [event for event, _ in await events(client.runs.stream(thread, "steps", input={"text": "c"}))]


async def test_a_node_that_blocks_longer_than_the_lease_keeps_all_leases(
    alone: Stack, tmp_path: Path
) -> None:
    log = tmp_path / "marks"
    client = alone.services("api")[0].client
    beside, blocked = await new_thread(client), await new_thread(client)
    given = {"log": str(log), "label": "beside", "delay": LEASE_SECS * 1.5}
    first = await client.runs.create(beside, "marked", input=given)
    await marked(log, "start", 1)
    runs = [
        (beside, first),
        (blocked, await client.runs.create(blocked, "blocking", input={**given, "label": "blocked"})),
    ]
    for thread, run in runs:
        await join(client, thread, run)
    async with alone.database() as db:
        attempts = await db.fetch(
            "select attempt, status from treadle.run where thread_id = any($1)", [beside, blocked]
        )
    assert [(row["attempt"], row["status"]) for row in attempts] == [(1, "success")] * 2


async def test_a_draining_worker_hands_its_run_to_another_at_once(bare: Stack, tmp_path: Path) -> None:
    log, gate = tmp_path / "marks", tmp_path / "gate"
    client = bare.services("api")[0].client
    async with staff(bare, "worker", "worker", **LAST_STEP) as workers:
        thread = await new_thread(client)
        run = await client.runs.create(thread, "three_steps", input=input_of(log, gate), durability="sync")
        await marked(log, "dwell", 1)
        taker = marks(log)[0][2]
        leaving, staying = sorted(workers, key=lambda worker: worker.pid != taker)
        leaving.signal(signal.SIGTERM)
        await leaving.logged("draining")
        gate.touch()
        assert await leaving.stop() == 0
        await join(client, thread, run)
        assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"
        async with bare.database() as db:
            crashes = await db.fetchval("select crashes from treadle.run where run_id = $1", run["run_id"])
    assert crashes == 0
    assert [(what, pid) for what, _, pid in marks(log)] == [
        ("prepare", leaving.pid),
        ("dwell", leaving.pid),
        ("conclude", staying.pid),
    ]


async def test_a_run_that_comes_due_meanwhile_waits_for_one_that_was_handed_back(
    bare: Stack, tmp_path: Path
) -> None:
    """It was accepted before that one; the second attempt of that one must find its own checkpoint as the newest."""
    log, gate = tmp_path / "marks", tmp_path / "gate"
    client = bare.services("api")[0].client
    async with staff(bare, "worker", **LAST_STEP) as [leaving]:
        thread = await new_thread(client)
        delayed = await client.runs.create(
            thread, "three_steps", input=input_of(log, gate, "delayed"), after_seconds=3600
        )
        run = await client.runs.create(thread, "three_steps", input=input_of(log, gate))
        await marked(log, "dwell", 1)
        async with bare.database() as db:
            await db.execute(
                "update treadle.run set not_before = created_at where run_id = $1", delayed["run_id"]
            )
        leaving.signal(signal.SIGTERM)
        await leaving.logged("draining")
        gate.touch()
        await leaving.stop()
        await bare.worker()
        await join(client, thread, run)
        await join(client, thread, delayed)
    steps = ("prepare", "dwell", "conclude")
    assert [(label, what) for what, label, _ in marks(log)] == [
        (label, what) for label in ("run", "delayed") for what in steps
    ]


async def test_a_run_has_its_time_and_no_more(bare: Stack) -> None:
    client = bare.services("api")[0].client
    async with staff(bare, "worker", BG_JOB_TIMEOUT_SECS="0.5"):
        thread = await new_thread(client)
        answer = await wait(client, thread, "slow", input={"delay": 60}, raise_error=False)
        assert "BG_JOB_TIMEOUT_SECS" in answer["__error__"]["message"]
        assert (await client.runs.list(thread))[0]["status"] == "timeout"
        assert (await values(client, thread))["steps"] == ["before"]


async def test_a_node_that_swallows_its_cancellation_is_left_behind_and_writes_nothing(
    alone: Stack, tmp_path: Path
) -> None:
    log = tmp_path / "marks"
    api, [worker] = alone.services("api")[0], alone.services("worker")
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
    alone: Stack, tmp_path: Path
) -> None:
    log = tmp_path / "marks"
    api, [worker] = alone.services("api")[0], alone.services("worker")
    thread = await new_thread(api.client)
    given = {"log": str(log), "label": "run", "delay": STOP_GRACE_SECS / 2}
    run = await api.client.runs.create(thread, "stubborn", input=given)
    await marked(log, "stubborn", 1)
    async with alone.database() as db, db.transaction():
        await db.execute("update treadle.lease set lease_until = clock_timestamp() - interval '1 s'")
        await db.execute("select treadle.claim($1, 'another', '0.1 s', 9)", thread)
    await marked(log, "stubborn", 2)
    await join(api.client, thread, run)
    assert (await api.client.runs.get(thread, run["run_id"]))["status"] == "success"
    told = await everything(api.client, thread, run)
    assert worker.running, worker.text
    assert [data["attempt"] for event, data, _ in told if event == "metadata"] == [1, 3]
    assert told[-1][1]["done"] == ["stubborn"]


async def test_a_worker_that_waits_for_nats_says_so_and_stops_when_told(bare: Stack) -> None:
    await bare.servers.nats.stop()
    worker = await bare.spawn("worker")
    assert await worker.logged("waiting for NATS at")
    assert await worker.stop() == 0
    await bare.servers.nats.start()


async def test_an_outcome_that_postgres_refuses_stops_no_other_run(alone: Stack) -> None:
    """A defect in what a run's end sets off must cost that run its end, for as long as it lasts, and nothing else."""
    client = alone.services("api")[0].client
    [worker] = alone.services("worker")
    async with alone.database() as postgres:
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
