"""Items of the store, as clients put and look for them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from treadle.graphs.storage import Minutes
from treadle_api.bodies.fields import Offset

Limit = Annotated[int, Meta(ge=1, le=10_000)]
Depth = Annotated[int, Meta(ge=1, le=1000)]


class NewItem(Struct, kw_only=True):
    """An item to be kept. `index`: false, or the paths of its text, in place of those of langgraph.json."""

    namespace: list[str]
    key: str
    value: dict[str, Any]
    index: Literal[False] | list[str] | None = None
    ttl: Minutes | None = None


class ItemName(Struct, kw_only=True):
    key: str
    namespace: list[str] = []


class ItemSearch(Struct, kw_only=True):
    namespace_prefix: list[str] | None = None
    filter: dict[str, Any] | None = None
    limit: Limit = 10
    offset: Offset = 0
    query: str | None = None
    refresh_ttl: bool | None = None


class NamespaceSearch(Struct, kw_only=True):
    prefix: list[str] | None = None
    suffix: list[str] | None = None
    max_depth: Depth | None = None
    limit: Limit = 100
    offset: Offset = 0
