"""Connections that Postgres ends, at whatever moment."""

from __future__ import annotations

import asyncio

from treadle.db.pool import Pool, connect_pool, postgres_errors
from treadle.errors import Unavailable

OFTEN = 60
END = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'treadle-ended'"


async def test_a_connection_that_ends_while_it_rests_is_postgres_being_away(dsn: str, pool: Pool) -> None:
    """The driver hands it out for as long as it has read the farewell and not yet the end of the connection."""
    ended = await connect_pool(dsn, size=1, service="ended")
    outcomes: list[bool] = []
    for _ in range(OFTEN):
        await pool.execute(END)
        for _ in range(3):
            outcomes.append(await answers(ended))
            await asyncio.sleep(0)
    await ended.close()
    assert True in outcomes


async def answers(pool: Pool) -> bool:
    try:
        with postgres_errors("asking"):
            return await pool.fetchval("select true")
    except Unavailable:
        return False
