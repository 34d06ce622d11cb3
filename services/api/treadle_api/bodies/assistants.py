"""Assistants, as clients ask for them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from treadle.db.assistants import SortBy, SortOrder
from treadle.wire.runs import Config
from treadle_api.bodies.fields import Limit, Offset, Text

Field = Literal[
    "assistant_id",
    "graph_id",
    "name",
    "description",
    "config",
    "context",
    "created_at",
    "updated_at",
    "metadata",
    "version",
]


class AssistantFields(Struct, kw_only=True):
    config: Config | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    name: Text | None = None
    description: Text | None = None


class NewAssistant(AssistantFields, kw_only=True):
    """A graph with a config, a context and metadata of its own."""

    graph_id: Text
    assistant_id: str | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None


class AssistantPatch(AssistantFields, kw_only=True):
    """What is to change. Metadata are merged, everything else is replaced."""

    graph_id: Text | None = None


class AssistantCount(Struct, kw_only=True):
    graph_id: Text | None = None
    name: Text | None = None
    metadata: dict[str, Any] | None = None


class AssistantSearch(AssistantCount, kw_only=True):
    limit: Limit = 10
    offset: Offset = 0
    sort_by: SortBy | None = None
    sort_order: SortOrder | None = None
    select: list[Field] | None = None


class VersionSearch(Struct, kw_only=True):
    metadata: dict[str, Any] | None = None
    limit: Limit = 10
    offset: Offset = 0


class LatestVersion(Struct, kw_only=True):
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)]
