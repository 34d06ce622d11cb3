"""Every call of the store client."""

from __future__ import annotations

from tests.e2e.calls.sdk import TRANSPORT, Sdk


async def put_item(sdk: Sdk) -> None:
    space = [sdk.mark, "people"]
    await sdk.store.put_item(space, "ada", {"name": "Ada"}, index=False, ttl=60, **TRANSPORT)
    await sdk.store.put_item(space, key="bea", value={"name": "Bea"}, index=["name"])
    assert (await sdk.store.get_item(space, "ada"))["value"] == {"name": "Ada"}


async def get_item(sdk: Sdk) -> None:
    await sdk.store.put_item([sdk.mark], "ada", {"name": "Ada"})
    found = await sdk.store.get_item([sdk.mark], key="ada", refresh_ttl=True, **TRANSPORT)
    assert (found["namespace"], found["key"], found["value"]) == ([sdk.mark], "ada", {"name": "Ada"})


async def delete_item(sdk: Sdk) -> None:
    await sdk.store.put_item([sdk.mark], "ada", {"name": "Ada"})
    await sdk.store.delete_item([sdk.mark], key="ada", **TRANSPORT)
    assert (await sdk.store.search_items([sdk.mark]))["items"] == []


async def search_items(sdk: Sdk) -> None:
    for age in (35, 36, 37):
        await sdk.store.put_item([sdk.mark, "people"], f"p{age}", {"age": age, "kind": "person"})
    found = await sdk.store.search_items(
        [sdk.mark],
        filter={"kind": "person", "age": {"$gte": 36}},
        limit=1,
        offset=1,
        query="person",
        refresh_ttl=False,
        **TRANSPORT,
    )
    assert len(found["items"]) == 1
    everything = await sdk.store.search_items([sdk.mark])
    assert {item["value"]["age"] for item in everything["items"]} == {35, 36, 37}


async def list_namespaces(sdk: Sdk) -> None:
    for last in ("a", "b", "c"):
        await sdk.store.put_item([sdk.mark, last, "deep", "end"], "key", {"n": 1})
    listed = await sdk.store.list_namespaces(
        prefix=[sdk.mark], suffix=["end"], max_depth=2, limit=2, offset=1, **TRANSPORT
    )
    assert listed["namespaces"] == [[sdk.mark, "b"], [sdk.mark, "c"]]
