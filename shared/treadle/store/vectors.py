"""The table of vectors, made when a service starts with a `store.index`: the stock table, so that stock stores read it.

The stock set-up also makes an approximate index, which is limited to 2,000 dimensions and, with a namespace as a filter,
overlooks items. Without it every search is exact, over the items of its namespace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import asyncpg

from treadle.db.pool import connect, postgres_errors
from treadle.errors import ConfigError
from treadle.migrate import LOCK, TURN_SECS

# Null: no such table. pgvector keeps the dimensions where others keep the length.
DIMS = """
select a.atttypmod from pg_attribute a
 where a.attrelid = to_regclass('store_vectors') and a.attname = 'embedding'
"""
INSTALLED = "select exists (select from pg_extension where extname = 'vector')"
AVAILABLE = "select exists (select from pg_available_extensions where name = 'vector')"
CREATE_TABLE = """
create table if not exists store_vectors (
    prefix text not null,
    key text not null,
    field_name text not null,
    embedding vector({dims}),
    created_at timestamptz default current_timestamp,
    updated_at timestamptz default current_timestamp,
    primary key (prefix, key, field_name),
    foreign key (prefix, key) references store (prefix, key) on delete cascade
)
"""


async def set_up_vectors(dsn: str, dims: int) -> None:
    """Make the table unless it is there. Services that start together take turns.

    Raises:
        ConfigError: the server has no pgvector, the user may not install it, or the table's vectors have another length.
        Unavailable: Postgres cannot be reached.
    """
    with postgres_errors("setting the store's index up"):
        connection = await connect(dsn)
        try:
            if await connection.fetchval(DIMS) is None:
                await _allowed(_make_in_turn(connection, dims))
            found = await connection.fetchval(DIMS)
        finally:
            await connection.close()
    if found != dims:
        raise ConfigError(
            f"`store.index` of langgraph.json asks for vectors of length {dims}, and the table store_vectors holds vectors of "
            f"length {found}. Put `dims` back, or drop the table (`drop table store_vectors`): items stay, and are found by "
            "meaning again once they are put again."
        )


async def _make_in_turn(connection: asyncpg.Connection, dims: int) -> None:
    """In one transaction, which is all that a pooler may give. It does not wait inside: see `migrate.wait_for_turn`."""
    while True:
        async with connection.transaction():
            if await connection.fetchval("select pg_try_advisory_xact_lock($1)", LOCK):
                await _make(connection, dims)
                return
        await asyncio.sleep(TURN_SECS)


async def _make(connection: asyncpg.Connection, dims: int) -> None:
    if not await connection.fetchval(INSTALLED):
        if not await connection.fetchval(AVAILABLE):
            raise ConfigError(
                "`store.index` of langgraph.json needs pgvector, which this Postgres server does not have. Install it there, "
                "or take `store.index` out."
            )
        await connection.execute("create extension if not exists vector")
    await connection.execute(CREATE_TABLE.format(dims=int(dims)))


async def _allowed(making: Coroutine[Any, Any, None]) -> None:
    try:
        await making
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigError(
            f"`store.index` of langgraph.json needs pgvector and a table, and DATABASE_URI's user may not make them: {error}. "
            "Have an administrator of the database say `create extension vector`, and let the user create tables."
        ) from error
