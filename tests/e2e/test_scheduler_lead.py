"""Schedulers that die while they lead: no tick of a cron is lost, and none is made twice. And Postgres that is not there."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import pytest_asyncio

from tests.forks import forks
from tests.integration.ticking import new_cron
from tests.notices import Notices, notices
from tests.stack import Stack, running_stack
from treadle.db.pool import Pool, connect_pool

KILLS = 20
TICKS = 200
CRONS = 12
EVERY_SECOND = "* * * * * *"
DUE = "select exists (select from treadle.cron where next_run_date <= clock_timestamp())"
LEADER = "select holder from treadle.leader where duty = 'scheduler' and lead_until > clock_timestamp()"
COUNT = "select count(*) from treadle.tick"
TIMES = "select array_agg(scheduled_for order by scheduled_for) from treadle.tick where cron_id = $1"
# Ticks without their run, and runs without their tick: of each run there is one, since its id is a key.
UNPAIRED = """
select count(*) from treadle.tick t full join treadle.run r using (run_id)
 where t.cron_id is null or r.thread_id is null
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servers_only() -> AsyncGenerator[Stack]:
    async with running_stack() as stack:
        yield stack


@pytest.fixture
async def pool(servers_only: Stack) -> AsyncGenerator[Pool]:
    pool = await connect_pool(servers_only.servers.postgres.url, size=2, service="test")
    yield pool
    await pool.execute("delete from treadle.thread; delete from treadle.cron")
    await pool.close()


class Watch:
    """Sees who leads, and what is made."""

    def __init__(self, pool: Pool, told: Notices) -> None:
        self._pool = pool
        self._told = told

    async def leader(self, other_than: int = 0) -> int:
        """The process id of the scheduler that leads, once it is another one."""

        async def look() -> int | None:
            holder = await self._pool.fetchval(LEADER)
            pid = 0 if holder is None else int(holder.rpartition("-")[2])
            return None if pid in (0, other_than) else pid

        return await self._told.until(look)

    async def ticks(self, more: int) -> None:
        """Wait until there are so many more."""
        before = await self._pool.fetchval(COUNT)

        async def look() -> bool | None:
            return await self._pool.fetchval(COUNT) >= before + more or None

        await self._told.until(look)

    async def all_made(self) -> None:
        """Wait until no tick is due."""

        async def look() -> bool | None:
            return None if await self._pool.fetchval(DUE) else True

        await self._told.until(look)


@pytest.fixture
async def watch(servers_only: Stack, pool: Pool) -> AsyncGenerator[Watch]:
    async with notices(servers_only.servers.postgres.url, ["treadle.leader", "treadle.tick"]) as told:
        yield Watch(pool, told)


async def test_ticks_outlive_their_schedulers(servers_only: Stack, pool: Pool, watch: Watch) -> None:
    settings = {"TREADLE_LEADER_LEASE_SECS": "0.6", "TREADLE_CRON_INTERVAL_SECS": "0.1"}
    async with forks({**servers_only.environment, **settings}) as schedulers:
        for _ in range(3):
            await schedulers.fork()
        crons = [await new_cron(pool, EVERY_SECOND, datetime.now(UTC), graph="steps") for _ in range(CRONS)]
        leader = await watch.leader()
        for kill in range(KILLS):
            await watch.ticks(1)  # told of by the commit: what the leader does next it does not come to
            if kill % 3:
                await watch.all_made()
            schedulers.kill(leader)
            await schedulers.fork()
            leader = await watch.leader(other_than=leader)
        await watch.ticks(max(CRONS, TICKS - await pool.fetchval(COUNT)))
    for cron in crons:
        times = await pool.fetchval(TIMES, cron.cron_id)
        assert times == [times[0] + timedelta(seconds=n) for n in range(len(times))]
        assert times[0] == cron.next_run_date
    assert await pool.fetchval(COUNT) >= TICKS
    assert await pool.fetchval(UNPAIRED) == 0


async def test_another_takes_over_within_ten_seconds(servers_only: Stack, pool: Pool, watch: Watch) -> None:
    """The lease of six seconds and a third of it, until the other asks again; with the default settings."""
    async with forks(servers_only.environment) as schedulers:
        await schedulers.fork()
        leader = await watch.leader()
        await new_cron(pool, EVERY_SECOND, datetime.now(UTC), graph="steps")
        await schedulers.fork()
        await watch.ticks(3)
        schedulers.kill(leader)
        killed = perf_counter()
        await watch.leader(other_than=leader)
        await watch.ticks(1)
        assert perf_counter() - killed < 10


class Gate:
    """The way to Postgres, which turns away the second connection and some after it."""

    def __init__(self, postgres: str, turned_away: int) -> None:
        parts = urlsplit(postgres)
        [self._to] = parse_qs(parts.query)["host"]
        self._url = parts
        self._turned_away = range(1, turned_away + 1)
        self._came = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[str]:
        """The address of Postgres that leads through here."""
        with tempfile.TemporaryDirectory() as sockets:
            server = await asyncio.start_unix_server(self._serve, Path(sockets) / ".s.PGSQL.5432")
            async with server:
                yield self._url._replace(query=f"host={quote(sockets)}").geturl()

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        came, self._came = self._came, self._came + 1
        if came not in self._turned_away:
            from_server, to_server = await asyncio.open_unix_connection(Path(self._to) / ".s.PGSQL.5432")
            await asyncio.gather(pass_on(from_client, to_server), pass_on(from_server, to_client))
        to_client.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def test_a_scheduler_waits_for_postgres_to_take_all_its_connections(servers_only: Stack) -> None:
    async with Gate(servers_only.servers.postgres.url, turned_away=2).open() as url:
        scheduler = await servers_only.scheduler(DATABASE_URI=url)
        assert scheduler.text.count("waiting for Postgres") == 1  # one line for one reason
        assert await scheduler.stop() == 0


async def test_a_scheduler_that_is_told_to_end_without_postgres_ends_well(servers_only: Stack) -> None:
    scheduler = await servers_only.scheduler()
    assert await scheduler.logged("leading")
    await servers_only.servers.postgres.stop()
    try:
        assert await scheduler.stop() == 0
    finally:
        await servers_only.servers.postgres.start()
    assert "giving up the lead" in scheduler.text
    assert "scheduler stopped" in scheduler.text
