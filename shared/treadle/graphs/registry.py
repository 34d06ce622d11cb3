"""The graphs of one process: imported once, handed out per run with that run's checkpointer and store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext

from treadle.errors import NotFound
from treadle.graphs import factory
from treadle.graphs.config import Config
from treadle.graphs.loader import Graph, load, prepare_imports
from treadle.identity.user import USER, User


class Registry:
    """Graphs by id.

    Compiled graphs are shared by all runs of the process; factories are called anew for each use.
    """

    def __init__(
        self, graphs: Mapping[str, Graph | Callable[..., Any]], descriptions: Mapping[str, str | None]
    ):
        self._graphs = graphs
        self.descriptions = descriptions

    @classmethod
    def load(cls, config: Config) -> Registry:
        """Import every graph of a langgraph.json.

        Raises:
            ConfigError: a graph cannot be imported or served; factories are checked for their arguments.
        """
        prepare_imports(config)
        graphs = {graph_id: load(config, graph_id) for graph_id in config.graphs}
        for graph in graphs.values():
            if not isinstance(graph, Pregel):
                factory.arguments_of(graph)
        return cls(graphs, {graph_id: entry.description for graph_id, entry in config.graphs.items()})

    @property
    def ids(self) -> Collection[str]:
        return self._graphs.keys()

    def __contains__(self, graph_id: str) -> bool:
        return graph_id in self._graphs

    def makes(self, graph_id: str) -> bool:
        """Whether the graph is made anew for each use, by a factory."""
        return not isinstance(self._graphs[graph_id], Pregel)

    @asynccontextmanager
    async def open(
        self,
        graph_id: str,
        access: AccessContext,
        *,
        checkpointer: BaseCheckpointSaver[Any],
        store: BaseStore,
        config: Mapping[str, Any] | None = None,
        context: Any = None,
    ) -> AsyncGenerator[Graph]:
        """The graph, with this use's checkpointer and store, for as long as the block lasts.

        Raises:
            NotFound: no graph has this id.
        """
        if graph_id not in self._graphs:
            raise NotFound(
                f"graph {graph_id!r} is not served here; langgraph.json names {sorted(self._graphs)}."
            )
        graph = self._graphs[graph_id]
        bound = {"checkpointer": checkpointer, "store": store}
        if isinstance(graph, Pregel):
            yield graph.copy(bound)
            return
        runtime = factory.runtime_for(access, store, context, _user(config or {}))
        async with factory.call(graph, config or {}, runtime) as made:
            yield made.copy(bound)


def _user(config: Mapping[str, Any]) -> User | None:
    """Who asks for the run, if that is known: what a request claims is no User."""
    configurable: Mapping[str, Any] = config.get("configurable") or {}
    user = configurable.get(USER)
    return user if isinstance(user, User) else None
