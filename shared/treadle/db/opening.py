"""The first connections of a service to Postgres: whatever is wrong with it then, somebody may be about to mend."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager

import asyncpg
import psycopg

from treadle.address import without_password
from treadle.db.pool import Pool, PoolWait, close_pool, connect_pool, postgres_errors
from treadle.errors import Unavailable
from treadle.migrate import require_schema


def postgres_at(dsn: str) -> str:
    """Postgres, as it is called where it is waited for."""
    return f"Postgres at {without_password(dsn)}"


async def open_pool(
    stack: AsyncExitStack, dsn: str, size: int, service: str, wait: PoolWait | None = None
) -> Pool:
    """A pool on a database with the schema of this version.

    Raises:
        Unavailable: Postgres cannot be reached, or its schema is older.
    """
    pool = await connect_pool(dsn, size=size, service=service, wait=wait)
    stack.push_async_callback(close_pool, pool)
    with postgres_errors("looking at the schema"):
        await require_schema(pool)
    return pool


@contextmanager
def refusals() -> Generator[None]:
    """Raise Unavailable for whatever Postgres refuses, and not only when it is away."""
    try:
        with postgres_errors("starting"):
            yield
    except (asyncpg.PostgresError, psycopg.OperationalError) as error:
        raise Unavailable(f"it answers with {type(error).__name__}: {error}") from error
