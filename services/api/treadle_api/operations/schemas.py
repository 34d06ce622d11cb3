"""What an assistant takes and gives: its JSON schemas, its drawing, its subgraphs."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from langchain_core.utils.pydantic import create_model_v2
from langgraph.channels.base import BaseChannel
from langgraph.pregel import Pregel
from pydantic import PydanticUserError, TypeAdapter

from treadle.graphs.loader import Graph
from treadle.graphs.registry import Registry
from treadle.model import Assistant
from treadle.operations.asking import Asking
from treadle_api.operations.graphs import Graphs
from treadle_api.views.schemas import AssistantSchemas, GraphDrawing, GraphSchemas

log = logging.getLogger(__name__)

Schema = dict[str, Any]


class Schemas:
    """Describes the graphs of assistants."""

    def __init__(self, registry: Registry, graphs: Graphs) -> None:
        self._registry = registry
        self._graphs = graphs
        self._known: dict[str, GraphSchemas] = {}

    async def of(self, asking: Asking, assistant: Assistant) -> AssistantSchemas:
        """The JSON schemas of an assistant's input, output, state, config and context.

        Those of a graph that is the same for every assistant are made once.

        Raises:
            NotFound: the assistant's graph is not served here.
            InvalidRequest: the factory does not make a graph of the assistant's config.
        """
        graph_id = assistant.graph_id
        if (schemas := self._known.get(graph_id)) is None:
            async with self._open(asking, assistant) as graph:
                schemas = graph_schemas(graph)
            if not self._registry.makes(graph_id):
                self._known[graph_id] = schemas
        return AssistantSchemas.of(graph_id, schemas)

    async def drawing(self, asking: Asking, assistant: Assistant, xray: bool | int) -> GraphDrawing:
        """The nodes and edges. `xray`: with those of subgraphs, down to a depth if it is a number. Raises as `of`."""
        async with self._open(asking, assistant) as graph:
            drawn = (await graph.aget_graph(xray=xray)).to_json()
        for node in drawn["nodes"]:
            if isinstance(data := node.get("data"), dict):
                cast("Schema", data).pop("id", None)  # where its class lies is nobody's business
        return GraphDrawing(nodes=drawn["nodes"], edges=drawn["edges"])

    async def subgraphs(
        self, asking: Asking, assistant: Assistant, namespace: str | None, *, recurse: bool
    ) -> dict[str, GraphSchemas]:
        """The schemas of subgraphs by namespace (`outer|inner`): all, or the one that is named. Raises as `of`."""
        async with self._open(asking, assistant) as graph:
            found = cast(
                "AsyncIterator[tuple[str, object]]",
                graph.aget_subgraphs(namespace=namespace, recurse=recurse),
            )
            # One that runs on another server is no Pregel, and describes itself there.
            return {
                name: graph_schemas(cast(Graph, subgraph))
                async for name, subgraph in found
                if isinstance(subgraph, Pregel)
            }

    @asynccontextmanager
    async def _open(self, asking: Asking, assistant: Assistant) -> AsyncGenerator[Graph]:
        async with self._graphs.open(
            asking, assistant.graph_id, assistant.config, assistant.context
        ) as graph:
            yield graph.copy({"name": assistant.graph_id})


def graph_schemas(graph: Graph) -> GraphSchemas:
    """The schemas of a graph. What cannot be said in JSON schema (a type known to checkers only, say) is None."""
    context = _made(graph.get_context_jsonschema, graph)
    return GraphSchemas(
        input_schema=_made(graph.get_input_jsonschema, graph),
        output_schema=_made(graph.get_output_jsonschema, graph),
        state_schema=_made(lambda: _state_schema(graph), graph),
        config_schema=context or {},
        context_schema=context,
    )


def _made(make: Callable[[], Schema | None], graph: Graph) -> Schema | None:
    try:
        return make()
    except Exception as error:
        # pydantic has an error of its own for each way in which the user's types cannot be described.
        log.info("the graph %s has a type without a JSON schema", graph.get_name(), exc_info=error)
        return None


def _state_schema(graph: Graph) -> Schema:
    """All channels that a node may read. None of them need be there yet, so that each has a default."""
    channels = cast("Mapping[str, object]", graph.channels)
    types = {
        name: cast("BaseChannel[Any, Any, Any]", channel).UpdateType
        for name, channel in channels.items()
        if isinstance(channel, BaseChannel) and name in graph.stream_channels_list
    }
    try:
        return _object_schema(graph.get_name("state"), types)
    except (PydanticUserError, NameError):
        known = {name: kind if _has_schema(kind) else Any for name, kind in types.items()}
        return _object_schema(graph.get_name("state"), known)


def _object_schema(title: str, types: Mapping[str, Any]) -> Schema:
    fields = {name: (kind, None) for name, kind in types.items()}
    return create_model_v2(title, field_definitions=fields).model_json_schema()


def _has_schema(kind: Any) -> bool:
    try:
        TypeAdapter(kind).json_schema()
    except (PydanticUserError, NameError):
        return False
    return True
