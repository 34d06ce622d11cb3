"""Long-term memory: items by namespace and key."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Router, delete, get, post, put
from litestar.params import Parameter

from treadle.errors import InvalidRequest
from treadle_api.access.access import Access
from treadle_api.bodies.store import ItemName, ItemSearch, NamespaceSearch, NewItem
from treadle_api.operations.memory import Memory
from treadle_api.views.store import FoundItems, ItemView, Namespaces, found_item_view, item_view

ITEMS = "/store/items"


@put(ITEMS, status_code=204, summary="Keep an item, in place of the one that has its name")
async def put_item(data: NewItem, memory: Memory, access: Access) -> None:
    value: dict[str, Any] = {
        "namespace": tuple(data.namespace),
        "key": data.key,
        "value": data.value,
        "index": data.index,
        "ttl": data.ttl,
    }
    await access.allow("store", "put", value)
    data.namespace, data.key, data.value = _namespace(value), value["key"], value["value"]
    await memory.of(access.tenant).put(data)


@get(ITEMS, summary="Get an item; null where there is none")
async def get_item(
    memory: Memory,
    access: Access,
    key: str,
    namespace: Annotated[
        list[str] | None, Parameter(description="Its labels, joined by periods or one by one.")
    ] = None,
    refresh_ttl: bool | None = None,
) -> ItemView | None:
    if not namespace:
        raise InvalidRequest("namespace: it is missing. Send its labels joined by periods.")
    labels = [label for part in namespace for label in part.split(".")]
    value: dict[str, Any] = {"namespace": tuple(labels), "key": key, "refresh_ttl": refresh_ttl}
    await access.allow("store", "get", value)
    item = await memory.of(access.tenant).get(_namespace(value), value["key"], refresh_ttl)
    return None if item is None else item_view(item)


@delete(ITEMS, summary="Remove an item, if there is one")
async def delete_item(data: ItemName, memory: Memory, access: Access) -> None:
    value: dict[str, Any] = {"namespace": tuple(data.namespace), "key": data.key}
    await access.allow("store", "delete", value)
    await memory.of(access.tenant).delete(ItemName(key=value["key"], namespace=_namespace(value)))


@post(
    f"{ITEMS}/search",
    status_code=200,
    summary="The items below a namespace: the nearest to a query first, or the last changed",
)
async def search_items(data: ItemSearch, memory: Memory, access: Access) -> FoundItems:
    value: dict[str, Any] = {
        "namespace": tuple(data.namespace_prefix or ()),
        "filter": data.filter,
        "limit": data.limit,
        "offset": data.offset,
        "query": data.query,
        "refresh_ttl": data.refresh_ttl,
    }
    await access.allow("store", "search", value)
    data.namespace_prefix, data.filter = _namespace(value), value["filter"]
    found = await memory.of(access.tenant).search(data)
    return FoundItems([found_item_view(item) for item in found])


@post("/store/namespaces", status_code=200, summary="The namespaces that have items")
async def list_namespaces(data: NamespaceSearch, memory: Memory, access: Access) -> Namespaces:
    value: dict[str, Any] = {
        "namespace": tuple(data.prefix or ()),
        "suffix": data.suffix,
        "max_depth": data.max_depth,
        "limit": data.limit,
        "offset": data.offset,
    }
    await access.allow("store", "list_namespaces", value)
    data.prefix = _namespace(value)
    found = await memory.of(access.tenant).namespaces(data)
    return Namespaces([list(namespace) for namespace in found])


def _namespace(value: dict[str, Any]) -> list[str]:
    """The namespace that is meant, which a handler may have put below another one."""
    return list(value["namespace"] or ())


router = Router(
    "/", route_handlers=[put_item, get_item, delete_item, search_items, list_namespaces], tags=["store"]
)
