"""A checkpointer and a store as a user would bring them: langgraph's own, in a schema apart."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.store.postgres.aio import AsyncPostgresStore
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

SCHEMA = "apart"


class Saver(AsyncPostgresSaver):
    """The stock one cannot take away single runs."""

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        async with self._cursor() as cursor:
            await cursor.execute(
                "delete from checkpoints where metadata ->> 'run_id' = any(%s)", [list(run_ids)]
            )


@asynccontextmanager
async def pool() -> AsyncGenerator[AsyncConnectionPool[Any]]:
    dsn = os.environ["DATABASE_URI"]
    async with await AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(f"create schema if not exists {SCHEMA}")
    settings: dict[str, Any] = {
        "autocommit": True, "prepare_threshold": 0, "row_factory": dict_row, "options": f"-c search_path={SCHEMA}",
    }  # fmt: skip
    async with AsyncConnectionPool(dsn, min_size=1, max_size=4, kwargs=settings) as made:
        yield made


@asynccontextmanager
async def make_saver() -> AsyncGenerator[Saver]:
    async with pool() as connections:
        saver = Saver(connections)
        await saver.setup()
        print("own checkpointer opened", flush=True)  # noqa: T201 - what the tests look for
        yield saver
    print("own checkpointer closed", flush=True)  # noqa: T201


@asynccontextmanager
async def make_store() -> AsyncGenerator[AsyncPostgresStore]:
    async with pool() as connections:
        store = AsyncPostgresStore(connections)
        await store.setup()
        print("own store opened", flush=True)  # noqa: T201
        yield store
    print("own store closed", flush=True)  # noqa: T201
