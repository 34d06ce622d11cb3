"""Items of the store, as clients get them."""

from __future__ import annotations

from typing import Any

from langgraph.store.base import Item, SearchItem
from msgspec import Struct

from treadle.wire.moments import moment


class ItemView(Struct):
    namespace: list[str]
    key: str
    value: dict[str, Any]
    created_at: str
    updated_at: str


class FoundItemView(ItemView):
    """`score`: how near it is to the query, 1 at best; null without a query, or where nothing of it is indexed."""

    score: float | None


class FoundItems(Struct):
    items: list[FoundItemView]


class Namespaces(Struct):
    namespaces: list[list[str]]


def item_view(item: Item) -> ItemView:
    return ItemView(
        namespace=list(item.namespace),
        key=item.key,
        value=item.value,
        created_at=moment(item.created_at),
        updated_at=moment(item.updated_at),
    )


def found_item_view(item: SearchItem) -> FoundItemView:
    return FoundItemView(
        namespace=list(item.namespace),
        key=item.key,
        value=item.value,
        created_at=moment(item.created_at),
        updated_at=moment(item.updated_at),
        score=item.score,
    )
