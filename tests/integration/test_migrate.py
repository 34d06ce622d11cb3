"""Migrations: every process may run them, at any time, and the schema is the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from treadle.errors import ConfigError, Unavailable
from treadle.migrate import Migration, apply, migrate, migrations

NAMES = [migration.name for migration in migrations()]
TAKE = "lock table treadle.{} in access exclusive mode;"
PATIENCE_SECS = 30.0


async def tables(dsn: str) -> list[tuple[str, str]]:
    connection = await asyncpg.connect(dsn)
    try:
        rows: list[Any] = await connection.fetch(
            "select schemaname, tablename from pg_tables where schemaname in ('treadle', 'public') order by 1, 2"
        )
        return [(row[0], row[1]) for row in rows]
    finally:
        await connection.close()


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, len(NAMES) + 1))


async def test_a_new_database_gets_langgraphs_tables_and_treadles(new_dsn: str) -> None:
    assert await migrate(new_dsn) == NAMES

    made = await tables(new_dsn)
    assert {
        ("public", name) for name in ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "store")
    } <= set(made)
    assert {("treadle", name) for name in ("run", "thread", "lease", "assistant", "dead_letter")} <= set(made)


async def test_migrating_again_does_nothing(new_dsn: str) -> None:
    await migrate(new_dsn)
    before = await tables(new_dsn)

    assert await migrate(new_dsn) == []
    assert await tables(new_dsn) == before


async def test_processes_that_start_together_take_turns(new_dsn: str) -> None:
    """Invariant: each migration is applied once. CREATE INDEX CONCURRENTLY must not deadlock with who waits."""
    applied = await asyncio.wait_for(asyncio.gather(*(migrate(new_dsn) for _ in range(4))), timeout=60)

    assert sorted(applied, key=len) == [[], [], [], NAMES]


async def test_only_what_is_missing_is_applied(new_dsn: str) -> None:
    await migrate(new_dsn)
    connection = await asyncpg.connect(new_dsn)
    try:
        await connection.execute("delete from treadle.migration where version = 1")
        with pytest.raises(asyncpg.DuplicateTableError):
            await migrate(new_dsn)
        # What failed is not noted as applied, and the lock is free again.
        assert await connection.fetch("select from treadle.migration where version = 1") == []
        assert await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
    finally:
        await connection.close()


async def test_checkpoints_of_a_database_that_langgraph_used_before_are_kept(new_dsn: str) -> None:
    async with AsyncPostgresSaver.from_conn_string(new_dsn) as saver:
        await saver.setup()
        kept = await saver.aput(
            {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}, empty_checkpoint(), {"step": 1}, {}
        )

        assert await migrate(new_dsn) == NAMES

        found = await saver.aget_tuple(kept)
        assert found is not None
        assert found.metadata == {"step": 1}


async def test_writers_win_where_a_migration_and_they_wait_for_each_other(new_dsn: str) -> None:
    """Protects: a rollout costs no request; Postgres would end the statement of whoever waited first."""
    await migrate(new_dsn)
    gate = "select pg_advisory_xact_lock(7);"
    step = Migration(len(NAMES) + 1, "step.sql", f"{TAKE.format('thread')} {gate} {TAKE.format('assistant')}")
    async with closing(new_dsn) as other, closing(new_dsn) as writer, closing(new_dsn) as watcher:
        await watcher.execute("select pg_advisory_lock(7)")
        async with writer.transaction():
            await writer.execute("select from treadle.assistant")
            applying = asyncio.create_task(apply(other, step))
            await waiting(watcher, other, "advisory", applying)
            writing = asyncio.create_task(writer.execute("select from treadle.thread"))
            await waiting(watcher, writer, "relation", writing)
            await watcher.execute("select pg_advisory_unlock(7)")
            async with asyncio.timeout(PATIENCE_SECS):
                await writing
            assert not applying.done()
        async with asyncio.timeout(PATIENCE_SECS):
            await applying
        assert await watcher.fetchval("select name from treadle.migration order by version desc") == step.name


async def waiting(
    watcher: asyncpg.Connection, who: asyncpg.Connection, what: str, task: asyncio.Task[Any]
) -> None:
    """Wait until a connection waits for a lock, or has no need to."""
    waits = "select exists (select from pg_locks where pid = $1 and locktype = $2 and not granted)"
    async with asyncio.timeout(PATIENCE_SECS):
        while not task.done() and not await watcher.fetchval(waits, who.get_server_pid(), what):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def closing(dsn: str) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_postgres_that_is_away_is_named_with_the_setting() -> None:
    with pytest.raises(Unavailable, match=r"could not be reached while migrating.*Check DATABASE_URI"):
        await migrate("postgresql://nobody@127.0.0.1:1/none")


async def test_an_address_that_cannot_be_understood_is_the_users_to_mend() -> None:
    with pytest.raises(ConfigError, match="DATABASE_URI cannot be used: "):
        await migrate("postgresql://nobody@127.0.0.1/none?sslmode=nonsense")
