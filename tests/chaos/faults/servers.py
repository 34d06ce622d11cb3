"""Faults of the servers. Those that last take the site's `outage_secs`, unless they are told how long."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg
import psutil
from redis.asyncio import Redis

from tests.chaos.fault import Fault
from tests.chaos.site import Between, Site
from tests.stack import Stack
from treadle.dev.servers.base import EmbeddedServer

# All of a killed Postgres' processes have noticed within this time that the first of them is gone.
ORPHANS_SECS = 10.0
# The connections of services to Postgres are ended this often while all of them are.
RESET_EVERY_SECS = 0.2
CHECKPOINT_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")

Harm = Callable[[Stack], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Outage:
    """What is wrong with a server for as long as the harm's block lasts.

    Args:
        secs: for how long; None: for as long as the site's long outages last.
    """

    name: str
    harm: Harm
    secs: float | None = None

    @property
    def links(self) -> frozenset[Between]:
        return frozenset()

    async def strike(self, site: Site, chance: random.Random) -> str:
        async with self.harm(site.stack):
            await asyncio.sleep(site.outage_secs if self.secs is None else self.secs)
        return self.name.partition(":")[0]


@asynccontextmanager
async def nats_away(stack: Stack) -> AsyncGenerator[None]:
    """NATS is stopped, with its data."""
    async with _stopped(stack.servers.nats):
        yield


@asynccontextmanager
async def nats_loses_its_data(stack: Stack) -> AsyncGenerator[None]:
    """NATS is stopped and begins anew: no stream, no consumer, no message."""
    server = stack.servers.nats
    async with _stopped(server):
        shutil.rmtree(server.home / "jetstream", ignore_errors=True)
        yield


@asynccontextmanager
async def postgres_away(stack: Stack) -> AsyncGenerator[None]:
    """Postgres is shut down in good order."""
    async with _stopped(stack.servers.postgres):
        yield


@asynccontextmanager
async def postgres_killed(stack: Stack) -> AsyncGenerator[None]:
    """`kill -9` of the postmaster: the next start has to recover."""
    server = stack.servers.postgres
    if server.pid is None:
        raise AssertionError("Postgres is not running: it cannot be killed")
    family = psutil.Process(server.pid).children(recursive=True)
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()
    await asyncio.to_thread(psutil.wait_procs, family, ORPHANS_SECS)
    async with _stopped(server):
        yield


@asynccontextmanager
async def postgres_resets_connections(stack: Stack) -> AsyncGenerator[None]:
    """The connections of all services are ended, again and again, in the middle of whatever they do."""
    async with _administrator(stack) as administrator:
        resetting = asyncio.create_task(_reset_connections(administrator), name="resetting")
        try:
            yield
        finally:
            resetting.cancel()
            await asyncio.gather(resetting, return_exceptions=True)


@asynccontextmanager
async def postgres_reads_only(stack: Stack) -> AsyncGenerator[None]:
    """Every transaction is read-only, as on a standby that is not the primary yet."""
    async with _administrator(stack) as administrator:
        await administrator.execute("alter system set default_transaction_read_only = on")
        await administrator.execute("select pg_reload_conf()")
        try:
            yield
        finally:
            await administrator.execute("alter system reset default_transaction_read_only")
            await administrator.execute("select pg_reload_conf()")


@asynccontextmanager
async def postgres_is_full(stack: Stack) -> AsyncGenerator[None]:
    """Other clients hold all of `max_connections`; the services have none."""
    async with _administrator(stack) as administrator, AsyncExitStack() as hoarded:
        hoarding = asyncio.create_task(_hoard(stack, administrator, hoarded), name="hoarding")
        try:
            yield
        finally:
            hoarding.cancel()
            await asyncio.gather(hoarding, return_exceptions=True)


@asynccontextmanager
async def postgres_is_locked(stack: Stack) -> AsyncGenerator[None]:
    """Another client locks the threads, as a migration by hand would: nothing of the protocol gets through."""
    async with _administrator(stack) as administrator, administrator.transaction():
        await administrator.execute("lock table treadle.thread in access exclusive mode")
        yield


@asynccontextmanager
async def checkpoints_find_the_disk_full(stack: Stack) -> AsyncGenerator[None]:
    """Whoever writes a checkpoint is told that there is no space left; all else goes on."""
    async with _administrator(stack) as administrator:
        await administrator.execute(
            """
            create or replace function public.no_space() returns trigger language plpgsql as $$
            begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$
            """
        )
        try:
            for table in CHECKPOINT_TABLES:
                await administrator.execute(
                    f"create trigger no_space before insert or update on {table} execute function public.no_space()"
                )
            yield
        finally:
            for table in CHECKPOINT_TABLES:
                await administrator.execute(f"drop trigger if exists no_space on {table}")


@asynccontextmanager
async def redis_away(stack: Stack) -> AsyncGenerator[None]:
    """Redis is stopped, and comes back empty."""
    async with _stopped(stack.servers.valkey):
        yield


@asynccontextmanager
async def redis_flushed(stack: Stack) -> AsyncGenerator[None]:
    """All that Redis has is thrown away; connections last."""
    async with Redis.from_url(stack.servers.valkey.url) as redis:  # pyright: ignore[reportUnknownMemberType]
        await redis.flushall()
    yield


@asynccontextmanager
async def redis_hangs(stack: Stack) -> AsyncGenerator[None]:
    """Redis answers nobody, and then everybody."""
    with _frozen(stack.servers.valkey):
        yield


@asynccontextmanager
async def nats_hangs(stack: Stack) -> AsyncGenerator[None]:
    """NATS answers nobody, and then everybody whom it has not given up."""
    with _frozen(stack.servers.nats):
        yield


FAULTS: tuple[Fault, ...] = (
    Outage("NATS: restart", nats_away, 0.0),
    Outage("NATS: away", nats_away),
    Outage("NATS: data lost", nats_loses_its_data, 0.0),
    Outage("NATS: hangs", nats_hangs),
    Outage("Postgres: restart", postgres_away, 0.0),
    Outage("Postgres: kill -9", postgres_killed, 0.0),
    Outage("Postgres: connections reset", postgres_resets_connections, 2.0),
    Outage("Postgres: read-only", postgres_reads_only),
    Outage("Postgres: no connection left", postgres_is_full),
    Outage("Postgres: threads locked", postgres_is_locked),
    Outage("Postgres: disk full for checkpoints", checkpoints_find_the_disk_full),
    Outage("Redis: restart", redis_away, 0.0),
    Outage("Redis: away", redis_away),
    Outage("Redis: flushed", redis_flushed, 0.0),
    Outage("Redis: hangs", redis_hangs),
)


@asynccontextmanager
async def _stopped(server: EmbeddedServer) -> AsyncGenerator[None]:
    await server.stop()
    try:
        yield
    finally:
        await server.start()


@contextmanager
def _frozen(server: EmbeddedServer) -> Generator[None]:
    if (pid := server.pid) is None:
        raise AssertionError(f"{server.name} is not running: it cannot be frozen")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _administrator(stack: Stack) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        stack.servers.postgres.url,
        server_settings={"application_name": "administrator", "default_transaction_read_only": "off"},
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _reset_connections(administrator: asyncpg.Connection) -> None:
    while True:
        await administrator.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'treadle-%'"
        )
        await asyncio.sleep(RESET_EVERY_SECS)


async def _hoard(stack: Stack, administrator: asyncpg.Connection, hoarded: AsyncExitStack) -> None:
    """Take every place for a connection, those of the services as well, and each that comes free."""
    while True:
        try:
            connection = await asyncpg.connect(
                stack.servers.postgres.url, server_settings={"application_name": "hoarder"}
            )
            hoarded.push_async_callback(connection.close)
        except asyncpg.TooManyConnectionsError:
            await _end_some(administrator)


async def _end_some(administrator: asyncpg.Connection) -> None:
    ended = await administrator.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'treadle-%' limit 20"
    )
    if not ended:
        await asyncio.sleep(RESET_EVERY_SECS)
