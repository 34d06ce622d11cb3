"""All that a service keeps in Postgres: its connections, checkpointers and store, opened together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from langgraph.store.base import BaseStore

from treadle.checkpoint.pool import checkpoint_pool
from treadle.checkpoint.savers import Savers, open_savers
from treadle.db.opening import open_pool, postgres_at, refusals
from treadle.db.pool import Pool, PoolWait
from treadle.patience import Tell, nobody, open_patiently
from treadle.service import Given
from treadle.store.opening import open_store


@dataclass(frozen=True)
class Storage:
    """What a service that knows graphs has of Postgres."""

    pool: Pool
    savers: Savers
    store: BaseStore


async def open_storage(
    stack: AsyncExitStack,
    given: Given,
    service: str,
    *,
    pool_size: int | None = None,
    prepare: Callable[[Pool], Awaitable[None]] | None = None,
    observe: Callable[[float], None] = lambda seconds: None,
    tell: Tell = nobody,
    wait: PoolWait | None = None,
) -> Storage:
    """Open everything, as soon as Postgres is there with the schema of this version.

    Args:
        stack: closes it.
        pool_size: connections of each of the two pools at the most; None: as the settings say.
        prepare: what is to be written before anything else is done.
        observe: is told the seconds that each write of a checkpoint took.
        tell: is told what is waited for.
        wait: for a connection, after which whoever needs one gets Overloaded.

    Raises:
        ConfigError: the address, or a store or checkpointer of the user's own, cannot be used.
    """
    settings = given.settings
    size = pool_size or settings.treadle_db_pool_size

    async def attempt(opened: AsyncExitStack) -> Storage:
        pool = await open_pool(opened, settings.database_uri, size, service, wait)
        if prepare is not None:
            await prepare(pool)
        checkpoints = await opened.enter_async_context(
            checkpoint_pool(settings.database_uri, size=size, service=service, wait=wait)
        )
        tracing = given.tracing
        savers = open_savers(given.config, pool, checkpoints, observe, tracing, settings.langgraph_aes_key)
        store = open_store(given.config, checkpoints, settings.database_uri)
        return Storage(
            pool, await opened.enter_async_context(savers), await opened.enter_async_context(store)
        )

    async def guarded(opened: AsyncExitStack) -> Storage:
        with refusals():
            return await attempt(opened)

    return await open_patiently(postgres_at(settings.database_uri), stack, guarded, tell)
