"""Lifecycle events: what a service on NATS, with the plain NATS client, learns of runs."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import msgspec
import nats
import nats.errors
import nats.js.errors
import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from tests.e2e.bus import bus
from tests.e2e.steps import begun, eventually, join, leave, new_thread, wait
from tests.stack import Service, Stack, running_stack
from treadle.wire.run_event import RunEvent

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAIT_SECS = 30.0
ALL = "treadle.events.runs.>"
ENDS = ("success", "error", "timeout", "interrupted", "rolled_back")

Told = list[tuple[str, int]]


class Watched:
    """A stack, and a service that watches what happens on it."""

    def __init__(self, stack: Stack, stream: JetStreamContext) -> None:
        self.stack = stack
        self.client: LangGraphClient = stack.services("api")[0].client
        self.stream = stream

    async def messages(self, subject: str, count: int) -> list[Msg]:
        """The first messages of a subject, as soon as they are there."""
        subscription = await self.stream.subscribe(subject, ordered_consumer=True)
        try:
            return [await subscription.next_msg(WAIT_SECS) for _ in range(count)]
        finally:
            await subscription.unsubscribe()

    async def told(self, thread: str, count: int) -> list[RunEvent]:
        """The first events of a thread."""
        return [read(message) for message in await self.messages(f"treadle.events.runs.{thread}.*", count)]

    async def told_of(self, thread: str, run: str, *, ends: int) -> Told:
        """(status, attempt) of a run, told until `ends` runs of its thread have ended."""
        subscription = await self.stream.subscribe(f"treadle.events.runs.{thread}.*", ordered_consumer=True)
        told: list[RunEvent] = []
        while sum(event.status in ENDS for event in told) < ends:
            told.append(read(await subscription.next_msg(WAIT_SECS)))
        await subscription.unsubscribe()
        return [(event.status, event.attempt) for event in told if str(event.run_id) == run]


def read(message: Msg) -> RunEvent:
    """The event of a message, whose subject and id must say the same."""
    event = msgspec.json.decode(message.data, type=RunEvent)
    assert message.subject == f"treadle.events.runs.{event.thread_id}.{event.status}"
    assert (message.headers or {})["Nats-Msg-Id"] == event.event_id
    return event


@asynccontextmanager
async def watched(*names: str, **settings: str) -> AsyncGenerator[Watched]:
    async with running_stack(*names, **settings) as stack, bus(stack) as connection:
        await eventually(lambda: has_stream(connection.jetstream()), WAIT_SECS)
        yield Watched(stack, connection.jetstream())


async def has_stream(stream: JetStreamContext) -> bool:
    """Whether the first scheduler that leads has made the stream."""
    with suppress(nats.js.errors.NotFoundError):
        await stream.stream_info("TREADLE_EVENTS")
        return True
    return False


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs() -> AsyncGenerator[Watched]:
    async with watched("api", "worker", "scheduler", TREADLE_LEASE_SECS="3") as made:
        yield made


async def test_a_service_learns_of_a_run_from_its_acceptance_to_its_end(runs: Watched) -> None:
    thread = await new_thread(runs.client)
    await wait(runs.client, thread, "steps", input={"text": "secret"}, metadata={"of": "secret"})

    messages = await runs.messages(f"treadle.events.runs.{thread}.*", 3)

    [run] = await runs.client.runs.list(thread)
    assert [msgspec.json.decode(message.data) for message in messages] == [
        {
            "event_id": f"{run['run_id']}:{attempt}:{status}",
            "run_id": run["run_id"],
            "thread_id": thread,
            "assistant_id": run["assistant_id"],
            "graph_id": "steps",
            "status": status,
            "attempt": attempt,
            "tenant": "default",
            "at": msgspec.json.decode(message.data)["at"],
        }
        for message, (status, attempt) in zip(
            messages, [("pending", 0), ("running", 1), ("success", 1)], strict=True
        )
    ]
    moments = [read(message).at for message in messages]
    assert moments == sorted(moments)
    assert abs((moments[0] - msgspec.convert(run["created_at"], type(moments[0]))).total_seconds()) < 1


async def test_statuses_can_be_chosen_by_subject(runs: Watched) -> None:
    thread = await new_thread(runs.client)
    run = await runs.client.runs.create(thread, "failing", input={"text": "a"})
    await wait(runs.client, thread, "steps", input={"text": "a"}, multitask_strategy="enqueue")

    [failed] = await runs.messages(f"treadle.events.runs.{thread}.error", 1)

    assert read(failed).run_id == msgspec.convert(run["run_id"], type(read(failed).run_id))


async def test_cancelled_runs_end_interrupted_or_rolled_back(runs: Watched) -> None:
    thread = await new_thread(runs.client)
    first = await dwelling(runs.client, thread)
    waits, gone = [
        (await runs.client.runs.create(thread, "steps", input={}, multitask_strategy="enqueue"))["run_id"]
        for _ in range(2)
    ]
    await runs.client.runs.cancel(thread, waits)
    await runs.client.runs.cancel(thread, gone, action="rollback")
    await runs.client.runs.cancel(thread, first, wait=True)
    last = await dwelling(runs.client, thread)
    await runs.client.runs.cancel(thread, last, action="rollback", wait=True)

    assert await runs.told_of(thread, first, ends=4) == [("pending", 0), ("running", 1), ("interrupted", 1)]
    assert await runs.told_of(thread, waits, ends=4) == [("pending", 0), ("interrupted", 0)]
    assert await runs.told_of(thread, gone, ends=4) == [("pending", 0), ("rolled_back", 0)]
    assert await runs.told_of(thread, last, ends=4) == [("pending", 0), ("running", 1), ("rolled_back", 1)]


async def dwelling(client: LangGraphClient, thread: str) -> str:
    """A run that goes on until it is stopped; its id."""
    run = await client.runs.create(
        thread,
        "three_steps",
        input={"gate": "/nowhere"},
        stream_mode=["custom"],
        multitask_strategy="enqueue",
    )
    stream = client.runs.join_stream(thread, run["run_id"], stream_mode=["custom"])
    await begun(stream)
    await leave(stream)
    return run["run_id"]


async def test_a_delayed_run_is_pending_until_it_is_due(runs: Watched) -> None:
    thread = await new_thread(runs.client)
    await runs.client.runs.create(thread, "steps", input={"text": "a"}, after_seconds=1)

    pending, running, success = await runs.told(thread, 3)

    assert (pending.status, running.status, success.status) == ("pending", "running", "success")
    assert (running.at - pending.at).total_seconds() >= 1


async def test_removing_a_thread_ends_the_runs_that_it_still_has(runs: Watched) -> None:
    thread = await new_thread(runs.client)
    await wait(runs.client, thread, "steps", input={"text": "a"})
    on = await dwelling(runs.client, thread)
    waits = await runs.client.runs.create(thread, "steps", input={}, multitask_strategy="enqueue")
    await runs.client.threads.delete(thread)

    told = await runs.told(thread, 8)

    assert [event.status for event in told[:6]] == [
        "pending",
        "running",
        "success",
        "pending",
        "running",
        "pending",
    ]
    assert {(event.status, str(event.run_id), event.attempt) for event in told[6:]} == {
        ("rolled_back", on, 1),
        ("rolled_back", waits["run_id"], 0),
    }


async def test_nothing_is_told_before_it_is_committed(runs: Watched) -> None:
    thread, other = await new_thread(runs.client), await new_thread(runs.client)
    run = await runs.client.runs.create(thread, "steps", input={}, after_seconds=3600)
    await runs.told(thread, 1)
    cancel = "select treadle.cancel($1, $2, 'interrupt')"
    async with runs.stack.database() as db:
        undone = db.transaction()
        await undone.start()
        await db.fetch(cancel, thread, run["run_id"])
        await undone.rollback()
        async with db.transaction():
            await db.fetch(cancel, thread, run["run_id"])
            await wait(runs.client, other, "steps", input={"text": "a"})
            await runs.told(other, 3)
            about = await runs.stream.stream_info("TREADLE_EVENTS", subjects_filter=f"*.*.*.{thread}.*")
            assert list(about.state.subjects or {}) == [f"treadle.events.runs.{thread}.pending"]

    assert await runs.told_of(thread, run["run_id"], ends=1) == [("pending", 0), ("interrupted", 0)]


async def test_a_takeover_is_told_as_another_attempt(runs: Watched, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    thread = await new_thread(runs.client)
    run = await runs.client.runs.create(
        thread, "three_steps", input={"gate": str(gate)}, stream_mode=["custom"]
    )
    stream = runs.client.runs.join_stream(thread, run["run_id"], stream_mode=["custom"])
    await begun(stream)
    await leave(stream)
    [victim] = runs.stack.services("worker")
    await victim.kill()
    await runs.stack.worker()
    gate.touch()
    await join(runs.client, thread, run)

    assert await runs.told_of(thread, run["run_id"], ends=1) == [
        ("pending", 0),
        ("running", 1),
        ("running", 2),
        ("success", 2),
    ]


async def test_the_stream_is_bounded_and_the_outbox_empties(runs: Watched) -> None:
    config = (await runs.stream.stream_info("TREADLE_EVENTS")).config
    assert (config.max_age, config.duplicate_window) == (86400, 120)
    await until_empty(runs.stack)


async def until_empty(stack: Stack) -> None:
    """Wait until nothing waits to be published."""

    async def empty() -> bool:
        async with stack.database() as db:
            return await db.fetchval("select count(*) from treadle.run_event") == 0

    await eventually(empty, WAIT_SECS)


async def test_a_stream_that_was_lost_is_made_again(runs: Watched) -> None:
    thread = await new_thread(runs.client)
    await until_empty(runs.stack)
    await runs.stream.delete_stream("TREADLE_EVENTS")
    await wait(runs.client, thread, "steps", input={"text": "a"})
    await eventually(lambda: has_stream(runs.stream), WAIT_SECS)

    assert [event.status for event in await runs.told(thread, 3)] == ["pending", "running", "success"]


async def test_each_event_is_told_while_nats_restarts_and_leaders_hang_and_die() -> None:
    """300 runs on 30 threads. The leader hangs, NATS goes down, both come back, so that two lead; one is killed."""
    settings = {
        "TREADLE_LEADER_LEASE_SECS": "1",
        "TREADLE_SWEEP_INTERVAL_SECS": "0.5",
        "N_JOBS_PER_WORKER": "20",
    }
    async with watched("api", "worker", "scheduler", "scheduler", **settings) as runs:
        threads = [await new_thread(runs.client) for _ in range(30)]
        accepting = asyncio.gather(*(accepted(runs.client, thread, 10) for thread in threads))
        await runs.messages("treadle.events.runs.*.success", 40)
        first = await leader(runs.stack)
        first.pause()
        await runs.stack.servers.nats.stop()
        accepted_runs = dict(zip(threads, await accepting, strict=True))
        second = await leader(runs.stack, besides=first)
        first.resume()
        await runs.stack.servers.nats.start()
        await runs.messages("treadle.events.runs.*.success", 80)
        await second.kill()
        told = [event async for event in until_ended(runs.stream, 300)]
        await until_empty(runs.stack)

    assert {event.event_id for event in told} == {
        f"{run}:{attempt}:{status}"
        for ids in accepted_runs.values()
        for run in ids
        for status, attempt in (("pending", 0), ("running", 1), ("success", 1))
    }
    for thread, events in by_thread(told).items():
        in_work = [str(event.run_id) for event in events if event.status != "pending"]
        assert in_work == [run for run in accepted_runs[thread] for _ in range(2)]
        for run in accepted_runs[thread]:
            own = [event.status for event in events if str(event.run_id) == run]
            assert own == ["pending", "running", "success"]


async def accepted(client: LangGraphClient, thread: str, count: int) -> list[str]:
    """Runs of a thread, in the order in which they were accepted."""
    given: dict[str, Any] = {"input": {"text": "a"}, "multitask_strategy": "enqueue"}
    return [
        cast("dict[str, str]", await client.runs.create(thread, "steps", **given))["run_id"]
        for _ in range(count)
    ]


async def leader(stack: Stack, *, besides: Service | None = None) -> Service:
    """The scheduler that leads, as soon as it is another one."""
    found: list[Service] = []

    async def leads() -> bool:
        async with stack.database() as db:
            holder = await db.fetchval("select holder from treadle.leader") or ""
        found[:] = [one for one in stack.services("scheduler") if holder.endswith(f"-{one.pid}")]
        return bool(found) and found[0] is not besides

    await eventually(leads, WAIT_SECS)
    return found[0]


async def until_ended(stream: JetStreamContext, count: int) -> AsyncGenerator[RunEvent]:
    """All messages of the stream, by a durable consumer, until so many runs have ended."""
    subscription = await stream.pull_subscribe(ALL, durable="watcher")
    ended: set[str] = set()
    async with asyncio.timeout(WAIT_SECS * 2):
        while len(ended) < count:
            with suppress(nats.errors.TimeoutError):
                for message in await subscription.fetch(100, timeout=1):
                    event = read(message)
                    if event.status in ENDS:
                        ended.add(event.event_id)
                    yield event
                    await message.ack()


def by_thread(told: list[RunEvent]) -> dict[str, list[RunEvent]]:
    """The events of each thread, without repetitions, in the order in which they were told."""
    threads: dict[str, dict[str, RunEvent]] = defaultdict(dict)
    for event in told:
        threads[str(event.thread_id)].setdefault(event.event_id, event)
    return {thread: list(events.values()) for thread, events in threads.items()}
