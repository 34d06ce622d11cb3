"""Graphs, opened to be looked at."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore

from treadle.errors import InvalidRequest, TreadleError
from treadle.graphs.loader import Graph
from treadle.graphs.registry import Registry
from treadle.operations.asking import Asking
from treadle.store.tenancy import in_tenant


class Graphs:
    """The graphs as assistants have them: a factory makes one for each assistant's config."""

    def __init__(self, registry: Registry, checkpointer: BaseCheckpointSaver[Any], store: BaseStore) -> None:
        self._registry = registry
        self._checkpointer = checkpointer
        self._store = store

    @asynccontextmanager
    async def open(
        self, asking: Asking, graph_id: str, config: Mapping[str, Any], context: Mapping[str, Any]
    ) -> AsyncGenerator[Graph]:
        """A graph, for as long as the block lasts, as whoever asks may see it.

        Raises:
            NotFound: no graph has this id.
            InvalidRequest: the factory does not make a graph of this config.
        """
        async with AsyncExitStack() as stack:
            try:
                opening = self._registry.open(
                    graph_id,
                    "assistants.read",
                    checkpointer=self._checkpointer,
                    store=in_tenant(self._store, asking.tenant),
                    config=asking.config(config),
                    context=context,
                )
                graph = await stack.enter_async_context(opening)
            except TreadleError:
                raise
            except Exception as error:
                raise InvalidRequest(
                    f"graph_id: the graph {graph_id!r} cannot be opened with this config: "
                    f"{type(error).__name__}: {error}. Mend its factory, or choose another config."
                ) from error
            yield graph
