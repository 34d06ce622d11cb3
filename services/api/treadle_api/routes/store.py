"""Long-term memory: items by namespace and key."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, delete, get, post, put
from litestar.params import Parameter

from treadle.errors import InvalidRequest
from treadle_api.bodies.store import ItemName, ItemSearch, NamespaceSearch, NewItem
from treadle_api.operations.memory import Memory
from treadle_api.views.store import FoundItems, ItemView, Namespaces, found_item_view, item_view

ITEMS = "/store/items"


@put(ITEMS, status_code=204, summary="Keep an item, in place of the one that has its name")
async def put_item(data: NewItem, memory: Memory) -> None:
    await memory.put(data)


@get(ITEMS, summary="Get an item; null where there is none")
async def get_item(
    memory: Memory,
    key: str,
    namespace: Annotated[
        list[str] | None, Parameter(description="Its labels, joined by periods or one by one.")
    ] = None,
    refresh_ttl: bool | None = None,
) -> ItemView | None:
    if not namespace:
        raise InvalidRequest("namespace: it is missing. Send its labels joined by periods.")
    labels = [label for part in namespace for label in part.split(".")]
    item = await memory.get(labels, key, refresh_ttl)
    return None if item is None else item_view(item)


@delete(ITEMS, summary="Remove an item, if there is one")
async def delete_item(data: ItemName, memory: Memory) -> None:
    await memory.delete(data)


@post(
    f"{ITEMS}/search",
    status_code=200,
    summary="The items below a namespace: the nearest to a query first, or the last changed",
)
async def search_items(data: ItemSearch, memory: Memory) -> FoundItems:
    return FoundItems([found_item_view(item) for item in await memory.search(data)])


@post("/store/namespaces", status_code=200, summary="The namespaces that have items")
async def list_namespaces(data: NamespaceSearch, memory: Memory) -> Namespaces:
    return Namespaces([list(namespace) for namespace in await memory.namespaces(data)])


router = Router(
    "/", route_handlers=[put_item, get_item, delete_item, search_items, list_namespaces], tags=["store"]
)
