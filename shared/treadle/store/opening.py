"""The store that langgraph.json asks for, opened once per process."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from langgraph.store.base import BaseStore

from treadle.checkpoint.pool import ConnectionPool
from treadle.graphs.config import Config
from treadle.graphs.custom import open_custom
from treadle.model import Run
from treadle.store.embedding import dims_of, make_embeddings
from treadle.store.postgres import PostgresStore
from treadle.store.tenancy import in_tenant
from treadle.store.vectors import set_up_vectors

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_store(config: Config, pool: ConnectionPool, dsn: str) -> AsyncGenerator[BaseStore]:
    """The store of graphs and clients.

    Raises:
        ConfigError: its code cannot be used, or the database has no place for its index.
        Unavailable: Postgres cannot be reached.
    """
    section = config.store
    if section.path is not None:
        if section.index is not None or section.ttl is not None:
            log.warning(
                "%s: `store.index` and `store.ttl` are not used: `store.path` names a store of its own",
                config.path,
            )
        async with open_custom(config, "store.path", section.path, BaseStore) as store:
            yield store
        return
    if section.index is None:
        yield PostgresStore(pool, ttl=section.ttl)
        return
    embeddings, dims = make_embeddings(config, section.index), dims_of(section.index)
    await set_up_vectors(dsn, dims)
    yield PostgresStore(
        pool, embeddings=embeddings, dims=dims, fields=section.index.fields or ("$",), ttl=section.ttl
    )


def store_of_run(store: BaseStore, run: Run) -> BaseStore:
    """The store for an attempt of a run, as its tenant sees it. One of the user's own is another database: it cannot be fenced."""
    fenced = store.fenced(run.run_id, run.attempt) if isinstance(store, PostgresStore) else store
    return in_tenant(fenced, run.tenant)
