"""Graphs described, as clients get them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class GraphSchemas(Struct, frozen=True):
    """JSON schemas. None where the graph has no such type, or one that JSON schema cannot describe."""

    input_schema: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    state_schema: dict[str, Any] | None
    config_schema: dict[str, Any] | None
    context_schema: dict[str, Any] | None


class AssistantSchemas(GraphSchemas, frozen=True, kw_only=True):
    graph_id: str

    @classmethod
    def of(cls, graph_id: str, schemas: GraphSchemas) -> AssistantSchemas:
        return cls(
            graph_id=graph_id,
            input_schema=schemas.input_schema,
            output_schema=schemas.output_schema,
            state_schema=schemas.state_schema,
            config_schema=schemas.config_schema,
            context_schema=schemas.context_schema,
        )


class GraphDrawing(Struct, frozen=True):
    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]
