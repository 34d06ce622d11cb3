"""Brings a database to the newest schema: langgraph's own tables first, then Treadle's numbered migrations.

Safe to run from many processes at once: they take turns under an advisory lock.
"""

from __future__ import annotations

import asyncio
import logging
from importlib import resources
from typing import NamedTuple

import asyncpg

from treadle.address import without_password
from treadle.db.dsn import parse
from treadle.db.pool import Connection, Pool, connect, postgres_errors
from treadle.errors import Unavailable
from treadle.patience import patiently

log = logging.getLogger(__name__)

# "treadle" in ASCII, as the key of the advisory lock.
LOCK = 0x74726561646C65
TURN_SECS = 0.1
# How long a step waits for a lock at first. It is less than Postgres' deadlock_timeout (1 s): whoever waits for it in turn, in a
# circle, is let through before Postgres breaks the circle at the writer's cost. Then ever longer: Postgres sends away an
# autovacuum that is in the way only after that second.
LOCK_SECS = 0.3
MOST_LOCK_SECS = 5.0


class Migration(NamedTuple):
    """One step. Those whose names end so build indexes while others write, which Postgres does outside of transactions only:
    their statements are applied one by one, and again from the first if that was broken off.
    """

    version: int
    name: str
    sql: str

    @property
    def concurrent(self) -> bool:
        return self.name.endswith("_concurrently.sql")

    @property
    def statements(self) -> list[str]:
        return [part for part in self.sql.split(";\n") if part.strip()]


def migrations() -> list[Migration]:
    """The migrations of this version of Treadle, in order."""
    folder = resources.files("treadle.db") / "migrations"
    files = sorted((file.name, file) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [Migration(int(name[:4]), name, file.read_text(encoding="utf-8")) for name, file in files]


async def migrate(dsn: str) -> list[str]:
    """Apply what is missing; returns the names of the migrations applied.

    Raises:
        Unavailable: Postgres cannot be reached.
    """
    with postgres_errors("migrating the database"):
        connection = await connect(dsn)
        try:
            await wait_for_turn(connection)
            if not await _missing(connection):
                return []
            await _set_up_langgraph(parse(dsn).address)
            return await _apply(connection)
        finally:
            await connection.close()


async def migrate_patiently(dsn: str) -> list[str]:
    """The same, as soon as Postgres is there: it may start after this, or go away in the middle."""
    return await patiently(f"Postgres at {without_password(dsn)}", lambda: migrate(dsn))


async def require_schema(pool: Pool) -> None:
    """See to it that every migration of this version has been applied. A newer schema is as good: code comes after it.

    Raises:
        Unavailable: one is missing; the message names it.
    """
    if missing := await _missing(pool):
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise Unavailable(
            f"its schema is older than this version of Treadle: {missing[0].name}{more} not applied. "
            "Run `treadle migrate` with this DATABASE_URI."
        )


async def wait_for_turn(connection: asyncpg.Connection) -> None:
    """Take the lock by asking again and again.

    Waiting inside `pg_advisory_lock` would hold a snapshot, for which the CREATE INDEX CONCURRENTLY in
    langgraph's set-up waits in turn: a deadlock between two processes that start together.
    """
    while not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):  # noqa: ASYNC110 - see above
        await asyncio.sleep(TURN_SECS)


async def _missing(where: Pool | Connection) -> list[Migration]:
    known = await where.fetchval("select to_regclass('treadle.migration') is not null")
    rows = await where.fetch("select version from treadle.migration") if known else []
    applied = {row["version"] for row in rows}
    return [migration for migration in migrations() if migration.version not in applied]


async def _set_up_langgraph(dsn: str) -> None:
    """Make the checkpoint and store tables by langgraph's own code (imported late: it takes a second)."""
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # noqa: PLC0415
    from langgraph.store.postgres.aio import AsyncPostgresStore  # noqa: PLC0415
    from psycopg import OperationalError  # noqa: PLC0415

    try:
        async with AsyncPostgresSaver.from_conn_string(dsn) as saver:
            await saver.setup()
        async with AsyncPostgresStore.from_conn_string(dsn) as store:
            await store.setup()
    except OperationalError as error:
        raise Unavailable(f"Postgres went away while langgraph's tables were made: {error}") from error


async def _apply(connection: asyncpg.Connection) -> list[str]:
    async with connection.transaction():
        await connection.execute(
            "create schema if not exists treadle;"
            "create table if not exists treadle.migration ("
            "  version int primary key, name text not null, applied_at timestamptz not null default now())"
        )
    done: list[str] = []
    for migration in await _missing(connection):
        await apply(connection, migration)
        done.append(migration.name)
    return done


async def apply(connection: Connection, migration: Migration) -> None:
    """Take one step, all of it or nothing; of a concurrent one, as much as can be done again.

    A step that cannot have a lock gives back those that it has, for those who write meanwhile, and tries again.
    """
    if migration.concurrent:
        for statement in migration.statements:
            await connection.execute(statement)
        await _note(connection, migration)
        return
    lock_secs = LOCK_SECS
    while not await _applied(connection, migration, lock_secs):
        log.info("%s: waits for locks that others hold", migration.name)
        await asyncio.sleep(lock_secs)
        lock_secs = min(2 * lock_secs, MOST_LOCK_SECS)


async def _applied(connection: Connection, migration: Migration, lock_secs: float) -> bool:
    """Whether all locks could be had."""
    try:
        async with connection.transaction():
            await connection.execute(f"set local lock_timeout = '{lock_secs * 1000:.0f}ms'")
            await connection.execute(migration.sql)
            await _note(connection, migration)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        return False
    return True


async def _note(connection: Connection, migration: Migration) -> None:
    await connection.execute(
        "insert into treadle.migration (version, name) values ($1, $2)", migration.version, migration.name
    )
