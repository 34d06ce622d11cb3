"""Delayed runs begin within a second of their moment: by schedules of NATS, by the scheduler, or by whichever is there."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
import nats
import nats.js.errors
import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Run
from nats.aio.msg import Msg

from tests.due import asked_for
from tests.e2e.bus import bus
from tests.e2e.steps import join, new_thread
from tests.stack import Stack, marks, running_stack
from treadle.dev.servers import EmbeddedNats
from treadle.messaging.delays import DueRun
from treadle.messaging.subjects import DELAYS_STREAM, delay_subject, due_subject, route_consumer

# What the issue of delays promises.
LATE_SECS = 1.0
# The sweeper finds whatever nobody was told of: here it must not be who does.
NO_SWEEPER = {"TREADLE_SWEEP_INTERVAL_SECS": "3600"}
GIVEN = {"text": "hello"}
# Workers of the other tests are not on it.
OTHER_ROUTE = "other"
CONSUMER = route_consumer(OTHER_ROUTE)
CREATE_CONSUMER = f"$JS.API.CONSUMER.CREATE.{DELAYS_STREAM}.{CONSUMER}.{due_subject(OTHER_ROUTE)}"
CREATE_THE_OLD_WAY = f"$JS.API.CONSUMER.DURABLE.CREATE.{DELAYS_STREAM}.{CONSUMER}"
LEADERLESS = {
    "error": {"code": 503, "err_code": 10008, "description": "JetStream system temporarily unavailable"}
}
DUE = "select status, created_at, not_before, started_at from treadle.run where run_id = any($1::uuid[])"


class Way(NamedTuple):
    """By whom runs are woken."""

    schedules: str
    scheduler: bool


WAYS = {
    "schedules and scheduler": Way("auto", True),
    "scheduler": Way("off", True),
    "schedules": Way("auto", False),
}
BOTH = ["schedules and scheduler"]
ALONE = ["schedules"]


@dataclass(frozen=True)
class Delaying:
    """Services in which delayed runs are woken in one of the ways."""

    stack: Stack
    way: Way
    client: LangGraphClient

    async def create(self, after_secs: float, graph: str = "steps", given: Any = GIVEN) -> Run:
        thread = await new_thread(self.client)
        after: Any = after_secs
        return await self.client.runs.create(thread, graph, after_seconds=after, input=given)

    async def create_all(self, delays: Sequence[float]) -> list[Run]:
        batch: list[Any] = [
            {"assistant_id": "steps", "input": GIVEN, "after_seconds": after, "on_completion": "keep"}
            for after in delays
        ]
        return await self.client.runs.create_batch(batch)

    async def prompt(self, count: int, over_secs: float) -> float:
        """Create runs without a delay now and then; returns the longest that one of them has waited, in seconds."""
        thread = await new_thread(self.client)
        waits: list[float] = []
        for _ in range(count):
            run = await self.client.runs.create(thread, "steps", input=GIVEN)
            await self.joined(run)
            [row] = await self.rows(run)
            waits.append((row["started_at"] - row["created_at"]).total_seconds())
            await asyncio.sleep(over_secs / count)
        return max(waits)

    async def rows(self, *runs: Run) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.stack.servers.postgres.url)
        try:
            return await connection.fetch(DUE, [run["run_id"] for run in runs])
        finally:
            await connection.close()

    async def lateness(self, *runs: Run) -> list[float]:
        """Seconds from the moment when each of these runs, which have begun, was due, by the database's clock."""
        return [(row["started_at"] - row["not_before"]).total_seconds() for row in await self.rows(*runs)]

    async def joined(self, *runs: Run) -> None:
        await asyncio.gather(*(join(self.client, run["thread_id"], run) for run in runs))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servers() -> AsyncGenerator[Stack]:
    async with running_stack(**NO_SWEEPER) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=WAYS, ids=str)
async def delaying(request: pytest.FixtureRequest, servers: Stack) -> AsyncGenerator[Delaying]:
    way = WAYS[request.param]
    names = ["api", "worker"] + ["scheduler"] * way.scheduler
    started = await servers.start(*names, TREADLE_NATS_SCHEDULES=way.schedules)
    yield Delaying(servers, way, started[0].client)
    await asyncio.gather(*(service.stop() for service in started))


async def test_delayed_runs_begin_within_a_second_of_their_moment_and_never_before(
    delaying: Delaying,
) -> None:
    """Apart from what this machine, at that time, lets runs wait that are due at once."""
    delays = [random.uniform(0.2, 3) for _ in range(50)]
    runs = await delaying.create_all(delays)
    (_, prompt) = await asyncio.gather(delaying.joined(*runs), delaying.prompt(8, over_secs=3))

    assert [row["status"] for row in await delaying.rows(*runs)] == ["success"] * 50
    late = await delaying.lateness(*runs)
    assert min(late) >= 0
    assert max(late) < LATE_SECS + prompt, (prompt, sorted(late))


async def test_runs_that_come_due_at_once_all_begin(delaying: Delaying) -> None:
    runs = await delaying.create_all([1] * 60)
    await delaying.joined(*runs)

    assert [row["status"] for row in await delaying.rows(*runs)] == ["success"] * 60
    assert min(await delaying.lateness(*runs)) >= 0


async def test_a_run_that_is_cancelled_before_it_is_due_never_runs(
    delaying: Delaying, tmp_path: Path
) -> None:
    log = tmp_path / "marks"
    cancelled = await delaying.create(0.5, "marked", {"log": str(log), "label": "cancelled"})
    later = await delaying.create(1, "marked", {"log": str(log), "label": "later"})
    await delaying.client.runs.cancel(cancelled["thread_id"], cancelled["run_id"])
    await delaying.joined(later)

    assert {label for _, label, _ in marks(log)} == {"later"}
    [row] = await delaying.rows(cancelled)
    assert (row["status"], row["started_at"]) == ("interrupted", None)


async def test_a_run_may_be_due_in_a_year(delaying: Delaying) -> None:
    run = await delaying.create(366 * 86400)
    [row] = await delaying.rows(run)
    assert row["not_before"] - datetime.now(UTC) > timedelta(days=365)

    async with bus(delaying.stack) as connection:
        subject = delay_subject("default", UUID(run["run_id"]))
        waiting = connection.jetstream().get_last_msg(DELAYS_STREAM, subject)
        if delaying.way.schedules == "auto":
            assert (await waiting).headers
        else:
            with pytest.raises(nats.js.errors.NotFoundError):
                await waiting


@pytest.mark.parametrize("delaying", ALONE, indirect=True)
async def test_a_run_that_nats_takes_for_due_too_early_is_put_back(delaying: Delaying) -> None:
    """As when the clock of NATS runs ahead of the database's."""
    [api] = await delaying.stack.start("api", TREADLE_NATS_SCHEDULES="off")
    unscheduled = Delaying(delaying.stack, delaying.way, api.client)
    run = await unscheduled.create(1)
    [row] = await unscheduled.rows(run)
    early = DueRun(UUID(run["run_id"]), UUID(run["thread_id"]), "default", 0, row["not_before"])

    async with bus(delaying.stack) as connection:
        await connection.jetstream().publish(due_subject("default"), msgspec.msgpack.encode(early))
    await unscheduled.joined(run)

    [late] = await unscheduled.lateness(run)
    assert 0 <= late < LATE_SECS
    await api.stop()


@pytest.mark.parametrize("delaying", ALONE, indirect=True)
async def test_schedules_outlive_a_restart_of_nats(delaying: Delaying) -> None:
    runs = [await delaying.create(after) for after in (0.1, 3)]
    await delaying.stack.servers.nats.stop()
    await delaying.stack.servers.nats.start()
    await delaying.joined(*runs)

    assert {row["status"] for row in await delaying.rows(*runs)} == {"success"}


@pytest.mark.parametrize("delaying", BOTH, indirect=True)
async def test_a_delayed_run_that_nats_could_not_be_told_of_begins(delaying: Delaying) -> None:
    await delaying.stack.servers.nats.stop()
    run = await delaying.create(0.5)
    await delaying.stack.servers.nats.start()
    await delaying.joined(run)

    assert [row["status"] for row in await delaying.rows(run)] == ["success"]


@asynccontextmanager
async def leaderless(stack: Stack, times: int) -> AsyncGenerator[list[Msg]]:
    """JetStream cannot say so many times whether it makes the consumer of what is due, as while a leader is elected.

    Yields what it is asked.
    """
    server = stack.servers.nats
    config = json.loads((server.home / "nats.json").read_text())
    await reload(server, {**config, "mappings": {CREATE_CONSUMER: "test.create"}})
    asked: list[Msg] = []

    async def answer(message: Msg) -> None:
        asked.append(message)
        if len(asked) <= times:
            await message.respond(json.dumps(LEADERLESS).encode())
        else:
            done = await connection.request(CREATE_THE_OLD_WAY, message.data)
            await message.respond(done.data)

    try:
        async with bus(stack) as connection:
            await connection.subscribe("test.create", cb=answer)
            yield asked
    finally:
        await reload(server, config)


async def reload(server: EmbeddedNats, config: Any) -> None:
    """Give a server that runs another configuration, and wait until it goes by it; it ends all connections."""
    assert server.pid is not None
    (server.home / "nats.json").write_text(json.dumps(config))
    ended = asyncio.Event()

    async def end() -> None:
        ended.set()

    connection = await nats.connect(server.url, allow_reconnect=False, disconnected_cb=end)
    os.kill(server.pid, signal.SIGHUP)
    async with asyncio.timeout(10):
        await ended.wait()
    await connection.close()


async def test_a_worker_asks_again_whether_nats_keeps_schedules_when_it_cannot_say(servers: Stack) -> None:
    async with leaderless(servers, times=2) as asked:
        worker = await servers.spawn("worker", TREADLE_ROUTE=OTHER_ROUTE)
        assert await worker.logged("slots on route")
        assert "waiting for the queue in NATS" in worker.text
        assert len(asked) == 3
        async with bus(servers) as connection:
            await asked_for(connection.jetstream(), OTHER_ROUTE)
        await worker.stop()
