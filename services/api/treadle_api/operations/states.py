"""A thread's state: reading it, its history, and changing it from outside a run."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.errors import InvalidUpdateError
from langgraph.store.base import BaseStore
from langgraph.types import StateSnapshot
from langgraph_sdk.runtime import AccessContext
from redis.asyncio import Redis

from treadle import json
from treadle.checkpoint.savers import Savers
from treadle.checkpoint.state import interrupts_of, readable_history, readable_state
from treadle.db.audit import record, waiting
from treadle.db.pool import Connection, Pool, postgres_errors, transaction
from treadle.db.scope import Scope
from treadle.db.threads import Threads, lock_at_rest, set_state
from treadle.errors import Conflict, InvalidRequest, Unavailable
from treadle.graphs.loader import Graph
from treadle.graphs.registry import Registry
from treadle.model import Thread
from treadle.operations.approvals import Answerer, Approvals
from treadle.operations.asking import Asking
from treadle.operations.missing import no_thread
from treadle.store.tenancy import in_tenant
from treadle.streaming import announce_state
from treadle.wire.runs import Checkpoint
from treadle_api.bodies.states import StateUpdate
from treadle_api.operations.snapshots import empty_state, state_view
from treadle_api.views.states import StateView, UpdatedState

log = logging.getLogger(__name__)

# What reducers and pydantic models raise for values that they cannot use.
REFUSALS = (ValueError, TypeError, LookupError, AttributeError, NotImplementedError)


class States:
    """The states of threads, read through the graphs that ran on them."""

    def __init__(
        self,
        registry: Registry,
        pool: Pool,
        threads: Threads,
        savers: Savers,
        store: BaseStore,
        redis: Redis,
        approvals: Approvals | None,
    ) -> None:
        self._registry = registry
        self._pool = pool
        self._threads = threads
        self._savers = savers
        self._redis = redis
        self._store = store
        self._approvals = approvals

    async def get(
        self, asking: Asking, scope: Scope, thread_id: UUID, at: Checkpoint, *, subgraphs: bool
    ) -> StateView:
        """The state at a checkpoint, the newest one unless it is named.

        Raises:
            NotFound: no such thread, or its graph is not served here.
        """
        thread = await self._thread(scope, thread_id)
        if (graph_id := _graph_id(thread)) is None:
            return empty_state()
        with postgres_errors("reading a state"):
            async with self._graph(asking, thread, graph_id, "threads.read") as graph:
                snapshot = await readable_state(graph, _config(thread_id, at), subgraphs=subgraphs)
        return state_view(snapshot)

    async def history(
        self,
        asking: Asking,
        scope: Scope,
        thread_id: UUID,
        at: Checkpoint,
        *,
        limit: int,
        before: str | None,
        metadata: dict[str, Any] | None,
    ) -> list[StateView]:
        """The states of a thread, newest first.

        Raises:
            NotFound: no such thread, or its graph is not served here.
        """
        thread = await self._thread(scope, thread_id)
        graph_id = _graph_id(thread)
        if graph_id is None or limit == 0:
            return []
        earlier = None if before is None else _config(thread_id, Checkpoint(checkpoint_id=before))
        with postgres_errors("reading a history"):
            async with self._graph(asking, thread, graph_id, "threads.read") as graph:
                states = await readable_history(
                    graph, _config(thread_id, at), filter=metadata, before=earlier, limit=limit
                )
        return [state_view(snapshot) for snapshot in states]

    async def update(self, asking: Asking, scope: Scope, thread_id: UUID, body: StateUpdate) -> UpdatedState:
        """Write a checkpoint with new values, while no run can begin on the thread.

        Raises:
            Forbidden: questions wait there that whoever asks may not answer.
            NotFound: no such thread, or its graph is not served here.
            Conflict: runs of the thread are going on.
            InvalidRequest: the graph does not take these values, or has no such node.
        """
        thread = await self._thread(scope, thread_id)
        if (graph_id := _graph_id(thread)) is None:
            raise InvalidRequest(
                f"Thread {thread_id} has no graph yet, so nobody knows what its state is made of: run one on it first, "
                "or give the thread's metadata a `graph_id`."
            )
        at = body.checkpoint or Checkpoint(checkpoint_id=body.checkpoint_id)
        with postgres_errors("updating a state"):
            async with (
                transaction(self._pool) as connection,
                self._graph(asking, thread, graph_id, "threads.update", locked=True) as graph,
            ):
                at_rest = await lock_at_rest(connection, scope, thread_id)
                if at_rest is None:
                    raise no_thread(thread_id)
                if not at_rest:
                    raise Conflict(
                        f"Thread {thread_id} has in-flight runs. Wait for them, or cancel them, before updating its state."
                    )
                await self._past_questions(asking, scope, thread_id, body, connection)
                config = _config(thread_id, at)
                config["metadata"] = {"graph_id": graph_id}
                written = await _write(graph, config, body)
                newest = await readable_state(graph, _config(thread_id, Checkpoint()))
                await set_state(
                    connection,
                    thread_id,
                    json.encode(newest.values or {}),
                    json.encode(interrupts_of(newest)),
                    b"{}",
                    "interrupted" if newest.next else "idle",
                )
        await self._announce(thread_id, asking.tenant, newest)
        return written

    async def _past_questions(
        self, asking: Asking, scope: Scope, thread_id: UUID, body: StateUpdate, connection: Connection
    ) -> None:
        """Whoever changes a state leads past the questions that wait: that has to be allowed, and is recorded."""
        questions = await waiting(connection, scope, thread_id)
        if questions is None or not questions.interrupts:
            return
        if self._approvals is not None:
            await self._approvals.check_update(asking, thread_id, questions, body.values)
        given = Answerer.of(asking.tenant, asking.user).gave(thread_id, questions, body.values)
        await record(connection, "updated", given)

    async def _announce(self, thread_id: UUID, tenant: str, newest: StateSnapshot) -> None:
        """Tell who follows the thread; the state is written, whether they hear of it or not."""
        try:
            data = json.encode({"state": state_view(newest), "thread_id": thread_id})
            await announce_state(self._redis, thread_id, tenant, data)
        except Unavailable as error:
            log.info("%s", error)

    async def _thread(self, scope: Scope, thread_id: UUID) -> Thread:
        with postgres_errors("reading a thread"):
            thread = await self._threads.get(scope, thread_id)
        if thread is None:
            raise no_thread(thread_id)
        return thread

    @asynccontextmanager
    async def _graph(
        self, asking: Asking, thread: Thread, graph_id: str, access: AccessContext, *, locked: bool = False
    ) -> AsyncGenerator[Graph]:
        saver = await self._savers.of_thread(thread.thread_id, locked=locked)
        try:
            async with self._registry.open(
                graph_id,
                access,
                checkpointer=saver,
                store=in_tenant(self._store, thread.tenant),
                config=asking.config(),
            ) as graph:
                yield graph
        except InvalidUpdateError as error:
            raise InvalidRequest(
                f"The state of thread {thread.thread_id} cannot be put together from what its last run left: {error} "
                "Remove that run, or update the state at an earlier checkpoint."
            ) from error


def _graph_id(thread: Thread) -> str | None:
    return cast("str | None", thread.metadata.get("graph_id"))


def _config(thread_id: UUID, at: Checkpoint) -> RunnableConfig:
    place = {name: value for name, value in msgspec.to_builtins(at).items() if value}
    return {"configurable": {"checkpoint_ns": "", **place, "thread_id": str(thread_id)}}


async def _write(graph: Graph, config: RunnableConfig, body: StateUpdate) -> UpdatedState:
    try:
        written = await graph.aupdate_state(config, cast(Any, body.values), as_node=body.as_node)
    except InvalidUpdateError as error:
        # What follows the first line is where to read more.
        field = "as_node" if "node" in str(error).partition("\n")[0].lower() else "values"
        raise InvalidRequest(f"{field}: {error}") from error
    except REFUSALS as error:
        raise InvalidRequest(
            f"values: the graph's state does not take them: {type(error).__name__}: {error}"
        ) from error
    pointer = cast("dict[str, Any]", written)["configurable"]
    return UpdatedState(checkpoint=pointer, configurable=pointer, checkpoint_id=pointer["checkpoint_id"])
