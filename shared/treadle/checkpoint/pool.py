"""The psycopg pool that langgraph's savers and stores need, set up as they expect it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from treadle.db.pool import CONNECT_TIMEOUT_SECS, postgres_errors

ConnectionPool = AsyncConnectionPool[Any]


@asynccontextmanager
async def checkpoint_pool(dsn: str, *, size: int, service: str) -> AsyncGenerator[ConnectionPool]:
    """Connections in autocommit mode, each statement its own transaction.

    Raises:
        Unavailable: Postgres cannot be reached.
    """
    pool: ConnectionPool = AsyncConnectionPool(
        dsn,
        min_size=1,
        max_size=size,
        open=False,
        timeout=CONNECT_TIMEOUT_SECS,
        kwargs={
            "autocommit": True,
            "prepare_threshold": 0,
            "row_factory": dict_row,
            "application_name": f"treadle-{service}-checkpoints",
        },
    )
    try:
        with postgres_errors("opening the checkpoint connections"):
            await _open(pool)
        yield pool
    finally:
        await pool.close()


async def _open(pool: ConnectionPool) -> None:
    try:
        await pool.open(wait=True, timeout=CONNECT_TIMEOUT_SECS)
    except PoolTimeout as error:
        raise TimeoutError(str(error)) from error
