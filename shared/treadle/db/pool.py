"""Connections to Postgres: the pool, its JSON codecs, and driver errors turned into the project's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from treadle import json
from treadle.db.dsn import parse
from treadle.db.sqlstates import is_away
from treadle.errors import ConfigError, Overloaded, Unavailable

CONNECT_TIMEOUT_SECS = 5.0
COMMAND_TIMEOUT_SECS = 30.0
CLOSE_TIMEOUT_SECS = 3.0
# Asyncpg's own.
QUERIES_PER_CONNECTION = 50_000
IDLE_SECS = 300.0
STATEMENTS = 100

# One that is a pool's, or one of its own.
Connection = asyncpg.Connection | PoolConnectionProxy
Pool = asyncpg.Pool

_LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    # A connection that Postgres has ended, until its end is read, is to the driver one with another operation in progress.
    # And while a cluster fails over, no server is the primary that the DSN asks for.
    asyncpg.InternalClientError,
)

# All that can become of a statement. One that this process has no memory for is tried again as one that Postgres has none for:
# a node that took all of it gives it back.
POSTGRES_ERRORS = (*_LOST, asyncpg.PostgresError, MemoryError)


@contextmanager
def postgres_errors(doing: str) -> Generator[None]:
    """Raise Unavailable, saying what was being done, when Postgres cannot be reached or cannot do its work now, or this process
    has no memory to ask it.

    Raises:
        ConfigError: the address cannot be understood; no patience would help.
    """
    try:
        yield
    except asyncpg.exceptions.ClientConfigurationError as error:
        raise ConfigError(f"DATABASE_URI cannot be used: {error}. See docs/settings.md.") from error
    except _LOST as error:
        raise Unavailable(
            f"Postgres could not be reached while {doing}: {error or type(error).__name__}. "
            "Check DATABASE_URI and that the server is up; what was committed is safe."
        ) from error
    except MemoryError as error:
        raise Unavailable(
            f"This process has no memory left for a statement, while {doing}. Give it more, or less to do at the same time "
            "(N_JOBS_PER_WORKER of a worker); what was committed is safe."
        ) from error
    except asyncpg.PostgresError as error:
        if not is_away(error.sqlstate):
            raise
        raise Unavailable(
            f"Postgres could not be reached while {doing}, or can do no such work now: {error}. "
            "Check that the server is up, takes writes and has room; what was committed is safe."
        ) from error


@dataclass(frozen=True)
class PoolWait:
    """How long whoever needs a connection waits for one, and what is called for each who has waited in vain."""

    secs: float
    refused: Callable[[], None]


class _BoundedPool(asyncpg.Pool):
    """A pool in which nobody waits for ever: all of asyncpg's ways to a connection go through `_acquire`."""

    wait: PoolWait | None = None

    async def _acquire(self, timeout: float | None) -> Any:
        if self.wait is None:
            return await super()._acquire(timeout)  # pyright: ignore
        try:
            async with asyncio.timeout(self.wait.secs):
                return await super()._acquire(timeout)  # pyright: ignore
        except TimeoutError:
            if not is_busy(self):
                raise  # it is Postgres that lets wait
        self.wait.refused()
        raise Overloaded(
            f"No connection to Postgres became free in {self.wait.secs:g} s (TREADLE_DB_POOL_WAIT_SECS): all "
            f"{self.get_max_size()} (TREADLE_DB_POOL_SIZE) are in use. Ask again in a moment. "
            "If it lasts, look for what Postgres waits for, or start more API processes."
        )


async def connect_pool(dsn: str, *, size: int, service: str, wait: PoolWait | None = None) -> Pool:
    """A pool of prepared connections that decode `json` and `jsonb` to Python values.

    Args:
        wait: after which its users get Overloaded; None: they wait as long as it takes.

    Raises:
        Unavailable: Postgres cannot be reached.
    """
    address, prepared = parse(dsn)
    with postgres_errors("connecting"):
        pool = _BoundedPool(
            address,
            min_size=1,
            max_size=size,
            max_queries=QUERIES_PER_CONNECTION,
            max_inactive_connection_lifetime=IDLE_SECS,
            loop=None,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            init=prepare,
            reset=_leave_as_it_is,
            timeout=CONNECT_TIMEOUT_SECS,
            command_timeout=COMMAND_TIMEOUT_SECS,
            statement_cache_size=STATEMENTS if prepared else 0,
            server_settings={"application_name": f"treadle-{service}"},
        )
        pool.wait = wait
        return await pool


async def connect(dsn: str, *, timeout: float = CONNECT_TIMEOUT_SECS) -> asyncpg.Connection:
    """One connection, as asyncpg makes it; raises what asyncpg raises."""
    address, prepared = parse(dsn)
    return await asyncpg.connect(address, timeout=timeout, statement_cache_size=STATEMENTS if prepared else 0)


async def close_pool(pool: Pool) -> None:
    """Close the connections in good order; at once, if Postgres does not answer any more."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECS):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def prepare(connection: Connection) -> None:
    """Teach a connection JSON: values are decoded; a parameter is a value, or JSON text that is ready.

    Binary on the wire, since asyncpg decodes composite types (the answers of the protocol's functions) only so.
    Binary jsonb is its text behind a version byte.
    """
    await connection.set_type_codec(
        "json", schema="pg_catalog", encoder=_as_bytes, decoder=json.decode, format="binary"
    )
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + _as_bytes(value),
        decoder=lambda data: json.decode(data[1:]),
        format="binary",
    )


async def _leave_as_it_is(_: Connection) -> None:
    """What a connection needs before the next one has it: nothing, and asyncpg has rolled back what was open.

    All settings and locks that are used here end with their transaction. Asyncpg's own reset would cost each
    statement another round trip, which doubles its time.
    """


def _as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else json.encode(value)


def is_busy(pool: Pool) -> bool:
    """Whether all connections that a pool may have are in use."""
    return pool.get_size() == pool.get_max_size() and not pool.get_idle_size()


def refused_too(pool: Pool, others: int) -> None:
    """Count those who have waited in vain together with one that was."""
    if isinstance(pool, _BoundedPool) and pool.wait is not None:
        for _ in range(others):
            pool.wait.refused()


async def clock(where: Pool | Connection) -> datetime:
    """The database's clock, the only one that leases, delays and schedules go by."""
    return await where.fetchval("select clock_timestamp()")


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncGenerator[Connection]:
    """A connection inside a transaction that commits when the block ends without an error."""
    async with pool.acquire() as connection, connection.transaction():
        yield connection
