"""The table of vectors: made once, whoever comes first; never used with vectors of another length."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from treadle.errors import ConfigError
from treadle.migrate import migrate
from treadle.store.vectors import set_up_vectors


async def test_services_that_start_together_make_one_table(new_dsn: str) -> None:
    await migrate(new_dsn)
    await asyncio.wait_for(asyncio.gather(*(set_up_vectors(new_dsn, 8) for _ in range(5))), 30)
    await set_up_vectors(new_dsn, 8)


async def test_vectors_of_another_length_are_refused_with_the_way_out(new_dsn: str) -> None:
    await migrate(new_dsn)
    await set_up_vectors(new_dsn, 8)
    with pytest.raises(ConfigError, match=r"length 9.*length 8.*drop table store_vectors"):
        await set_up_vectors(new_dsn, 9)


async def test_a_user_who_may_not_install_pgvector_is_told_who_may(new_dsn: str) -> None:
    await migrate(new_dsn)
    connection = await asyncpg.connect(new_dsn)
    try:
        await connection.execute("drop role if exists weaver; create role weaver")
        with pytest.raises(ConfigError, match="create extension vector"):
            await set_up_vectors(f"{new_dsn}&role=weaver", 8)
    finally:
        await connection.close()
