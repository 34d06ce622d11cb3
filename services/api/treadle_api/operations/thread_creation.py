"""Making threads, be they empty, with a history of their own, or as copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.errors import InvalidUpdateError
from langgraph.store.base import BaseStore
from langgraph.types import StateUpdate

from treadle import json
from treadle.checkpoint.savers import Saver, Savers
from treadle.checkpoint.state import interrupts_of
from treadle.db.checkpoints import Checkpoints
from treadle.db.pool import Connection, Pool, postgres_errors, transaction
from treadle.db.scope import EVERYWHERE, Scope
from treadle.db.threads import Threads, insert, set_state
from treadle.db.together import Maker
from treadle.errors import Conflict, InvalidRequest
from treadle.graphs.command import to_command
from treadle.graphs.registry import Registry
from treadle.model import Thread, Ttl
from treadle.operations.asking import Asking
from treadle.operations.ids import new_id
from treadle.operations.missing import no_thread
from treadle.store.tenancy import in_tenant
from treadle_api.bodies.threads import NewThread, Superstep, SuperstepUpdate
from treadle_api.lifetime import read_ttl


class ThreadCreation:
    """Makes threads; those that say nothing of their end have the one that langgraph.json gives them."""

    def __init__(
        self,
        pool: Pool,
        threads: Threads,
        savers: Savers,
        registry: Registry,
        store: BaseStore,
        default_ttl: Ttl | None,
    ) -> None:
        self._pool = pool
        self._threads = threads
        self._stored = Checkpoints(pool)
        self._savers = savers
        self._registry = registry
        self._store = store
        self._default_ttl = default_ttl

    async def create(self, asking: Asking, scope: Scope, thread_id: UUID, body: NewThread) -> Thread:
        """Make a thread in the scope's tenant, or find the one within the scope that has its id.

        Raises:
            InvalidRequest: a field cannot be used, or the graph refuses one of the supersteps; nothing was made.
            Conflict: the id is taken.
        """
        maker = Maker(asking.tenant, None if asking.user is None else asking.user["identity"])
        ttl = read_ttl(body.ttl) or self._default_ttl
        with postgres_errors("creating a thread"):
            if body.supersteps:
                thread = await self._with_history(
                    asking, maker, thread_id, body.metadata or {}, ttl, body.supersteps
                )
            elif body.thread_id is None:
                thread = await self._threads.create_new(maker, thread_id, body.metadata or {}, ttl)
            else:
                thread = await self._threads.create(maker, thread_id, body.metadata or {}, ttl)
            if thread is None and body.if_exists == "do_nothing":
                thread = await self._threads.get(scope, thread_id)
        if thread is None:
            raise Conflict(
                f"Thread with ID {thread_id} already exists. Choose another, or send `if_exists`: `do_nothing`."
            )
        return thread

    async def copy(self, scope: Scope, source: UUID) -> Thread:
        """Make a thread with all checkpoints of another one.

        Raises:
            NotFound: there is no such thread.
        """
        with postgres_errors("copying a thread"):
            thread = await self._stored.copy(scope, source, new_id(), self._default_ttl)
            if thread is None:
                raise no_thread(source)
            try:
                await self._savers.copy(source, thread.thread_id)
            except BaseException:
                await self._threads.delete(EVERYWHERE, [thread.thread_id])
                raise
        return thread

    async def _with_history(
        self,
        asking: Asking,
        maker: Maker,
        thread_id: UUID,
        metadata: dict[str, Any],
        ttl: Ttl | None,
        supersteps: Sequence[Superstep],
    ) -> Thread | None:
        """The thread's row and its checkpoints are seen by others together, or never."""
        graph_id = str(metadata.get("graph_id"))
        if graph_id not in self._registry:
            raise InvalidRequest(
                f"supersteps: `metadata.graph_id` must name the graph that they belong to, one of: "
                f"{', '.join(sorted(self._registry.ids))}."
            )
        async with transaction(self._pool) as connection:
            if await insert(connection, maker, thread_id, metadata, ttl) is None:
                return None
            async with self._savers.of_new_thread(thread_id) as saver:
                await self._apply(connection, saver, asking, thread_id, graph_id, supersteps)
        return await self._threads.get(EVERYWHERE, thread_id)

    async def _apply(
        self,
        connection: Connection,
        saver: Saver,
        asking: Asking,
        thread_id: UUID,
        graph_id: str,
        supersteps: Sequence[Superstep],
    ) -> None:
        config: RunnableConfig = {
            "configurable": {"thread_id": str(thread_id), "checkpoint_ns": ""},
            "metadata": {"graph_id": graph_id},
        }
        async with self._registry.open(
            graph_id,
            "threads.update",
            checkpointer=saver,
            store=in_tenant(self._store, asking.tenant),
            config=asking.config(),
        ) as graph:
            try:
                await graph.abulk_update_state(config, [_updates(each) for each in supersteps])
            except (InvalidUpdateError, KeyError, ValueError, TypeError) as error:
                raise InvalidRequest(f"supersteps: {error}. The thread was not made.") from error
            newest = await graph.aget_state(config)
        await set_state(
            connection,
            thread_id,
            json.encode(newest.values or {}),
            json.encode(interrupts_of(newest)),
            b"{}",
            "interrupted" if newest.next else "idle",
        )


def _updates(superstep: Superstep) -> list[StateUpdate]:
    return [StateUpdate(_returned(update), update.as_node) for update in superstep.updates]


def _returned(update: SuperstepUpdate) -> Any:
    """What the node is taken to have returned."""
    return update.values if update.command is None else to_command(msgspec.to_builtins(update.command))
