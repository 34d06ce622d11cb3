"""Waiting for what happens in Postgres: a look at each change of a table, and none in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg

T = TypeVar("T")

FUNCTION = """
create or replace function public.notice() returns trigger language plpgsql as $$
begin
    perform pg_notify('notices', tg_table_name);
    return null;
end $$
"""
TRIGGER = """
create or replace trigger notice after insert or update or delete on {table}
    for each statement execute function public.notice()
"""
SECS = 20.0


class Notices:
    """Learns of each transaction that has changed a table."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def heard(self, *_: object) -> None:
        self._changed.set()

    async def until(self, look: Callable[[], Awaitable[T | None]], secs: float = SECS) -> T:
        """Look now and after each change until there is something to be seen.

        Raises:
            TimeoutError: there was not, for so long.
        """
        async with asyncio.timeout(secs):
            while True:
                self._changed.clear()
                if (seen := await look()) is not None:
                    return seen
                await self._changed.wait()


@asynccontextmanager
async def notices(dsn: str, tables: Sequence[str]) -> AsyncGenerator[Notices]:
    """Listen to these tables."""
    told = Notices()
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(FUNCTION)
        for table in tables:
            await connection.execute(TRIGGER.format(table=table))
        await connection.add_listener("notices", told.heard)
        yield told
    finally:
        await connection.close()
