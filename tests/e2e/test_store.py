"""The store through the public Python client, and through graphs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import UnprocessableEntityError

from tests.e2e.steps import wait
from tests.stack import GRAPHS, Service, Stack, running_stack

INDEXED = GRAPHS.with_name("indexed.json")


def a_namespace() -> list[str]:
    return ["test", str(uuid4())]


async def keys(client: LangGraphClient, namespace: list[str], **search: Any) -> list[str]:
    """The keys that a search finds, in order."""
    return [item["key"] for item in (await client.store.search_items(namespace, **search))["items"]]


async def test_an_item_is_put_got_replaced_and_removed(client: LangGraphClient) -> None:
    mine = a_namespace()
    await client.store.put_item(mine, "a", {"n": 1})
    first = await client.store.get_item(mine, "a")
    assert (first["namespace"], first["key"], first["value"]) == (mine, "a", {"n": 1})
    await client.store.put_item(mine, "a", {"n": 2})
    second = await client.store.get_item(mine, "a")
    assert second["value"] == {"n": 2}
    assert second["created_at"] == first["created_at"]
    assert second["updated_at"] > first["updated_at"]
    await client.store.delete_item(mine, "a")
    await client.store.delete_item(mine, "a")
    assert await client.store.get_item(mine, "a") is None


async def test_graphs_and_clients_see_the_same_items(client: LangGraphClient) -> None:
    mine = a_namespace()
    await client.store.put_item(mine, "theirs", {"by": "client"})
    ran = await wait(
        client,
        None,
        "remembering",
        input={"namespace": mine, "put": {"key": "ours", "value": {"by": "graph"}}},
    )
    assert [key for key, _, _ in ran["found"]] == ["ours", "theirs"]
    assert (await client.store.get_item(mine, "ours"))["value"] == {"by": "graph"}


async def test_a_search_covers_a_namespace_and_what_is_below_it(client: LangGraphClient) -> None:
    mine = a_namespace()
    for place in ([], ["a"], ["a", "b"], ["ab"], ["a_b"], ["axb"]):
        await client.store.put_item([*mine, *place], ".".join(place), {})
    assert await keys(client, mine) == ["axb", "a_b", "ab", "a.b", "a", ""]
    assert await keys(client, [*mine, "a"]) == ["a.b", "a"]
    assert await keys(client, [*mine, "a_b"]) == ["a_b"]
    assert await keys(client, mine, limit=2, offset=1) == ["a_b", "ab"]


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ({}, "abcd"),
        ({"n": 2}, "a"),
        ({"n": 2.0}, "a"),
        ({"n": {"$eq": 2}}, "a"),
        ({"n": {"$ne": 2}}, "bcd"),
        ({"n": {"$gt": 9}}, "b"),
        ({"n": {"$gte": 9}}, "bc"),
        ({"n": {"$lt": 10}}, "ac"),
        ({"n": {"$lte": 9}}, "ac"),
        ({"n": {"$gt": 2, "$lt": 10}}, "c"),
        ({"t": {"$gt": "a"}}, "bd"),
        ({"t": {"$lt": 5}}, ""),
        ({"t": None}, "c"),
        ({"flag": True}, "d"),
        ({"missing": {"$ne": 1}}, "abcd"),
        ({"missing": None}, "abcd"),
        ({"list": [1, 2]}, "d"),
        ({"list": [1]}, ""),
        ({"nested": {"x": 1}}, "c"),
        ({"nested": {"x": {"$gt": 0}, "y": "z"}}, "c"),
        ({"nested": {"x": 2}}, ""),
        ({"n": {}}, ""),
        ({"n": 2, "t": "a"}, "a"),
        ({"n": 2, "t": "b"}, ""),
        ({"%s": "'; drop table store; --"}, ""),
    ],
)
async def test_filters(client: LangGraphClient, filterable: list[str], filter_: Any, found: str) -> None:
    assert sorted(await keys(client, filterable, filter=filter_)) == list(found)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def filterable(api: Service) -> list[str]:
    mine = a_namespace()
    for key, value in {
        "a": {"n": 2, "t": "a"},
        "b": {"n": 10, "t": "b"},
        "c": {"n": 9, "t": None, "nested": {"x": 1, "y": "z"}},
        "d": {"t": "c", "flag": True, "list": [1, 2]},
    }.items():
        await api.client.store.put_item(mine, key, value)
    return mine


async def test_namespaces_are_listed(client: LangGraphClient) -> None:
    mine = a_namespace()
    for place in (["a"], ["a", "x"], ["b", "x"], ["b", "y"]):
        await client.store.put_item([*mine, *place], "k", {})

    async def listed(**search: Any) -> list[list[str]]:
        found = cast("dict[str, Any]", await client.store.list_namespaces(**search))["namespaces"]
        assert all(namespace[:2] == mine for namespace in found)
        return [namespace[2:] for namespace in found]

    assert await listed(prefix=mine) == [["a"], ["a", "x"], ["b", "x"], ["b", "y"]]
    assert await listed(prefix=mine, max_depth=3) == [["a"], ["b"]]
    assert await listed(prefix=mine, suffix=["x"]) == [["a", "x"], ["b", "x"]]
    assert await listed(prefix=[*mine, "*", "x"]) == [["a", "x"], ["b", "x"]]
    assert await listed(prefix=mine, limit=1, offset=2) == [["b", "x"]]


@pytest.mark.parametrize(
    ("method", "path", "field", "body"),
    [
        ("put", "items", "namespace", {"namespace": []}),
        ("put", "items", "namespace", {"namespace": ["a.b"]}),
        ("put", "items", "namespace", {"namespace": [""]}),
        ("put", "items", "namespace", {"namespace": ["langgraph"]}),
        ("put", "items", "namespace", {"namespace": "a"}),
        ("put", "items", "key", {"key": 1}),
        ("put", "items", "key", {"key": "a\0b"}),
        ("put", "items", "key", {"key": "k" * 3000}),
        ("put", "items", "value", {"value": None}),
        ("put", "items", "value", {"value": [1]}),
        ("put", "items", "index", {"index": True}),
        ("put", "items", "ttl", {"ttl": 0}),
        ("put", "items", "ttl", {"ttl": "soon"}),
        ("put", "items", "ttl", {"ttl": 1e300}),
        ("post", "items/search", "namespace_prefix", {"namespace_prefix": ["a.b"]}),
        ("post", "items/search", "filter", {"filter": [1]}),
        ("post", "items/search", "filter.n", {"filter": {"n": {"$bogus": 1}}}),
        ("post", "items/search", "filter.n.$gt", {"filter": {"n": {"$gt": None}}}),
        ("post", "items/search", "limit", {"limit": 0}),
        ("post", "items/search", "offset", {"offset": -1}),
        ("post", "items/search", "query", {"query": 5}),
        ("post", "namespaces", "prefix", {"prefix": ["a.b"]}),
        ("post", "namespaces", "suffix", {"suffix": [""]}),
        ("post", "namespaces", "max_depth", {"max_depth": 0}),
    ],
)
async def test_a_refusal_names_the_field(
    client: LangGraphClient, method: str, path: str, field: str, body: dict[str, Any]
) -> None:
    item: dict[str, Any] = {"namespace": ["a"], "key": "k", "value": {}}
    whole = {**item, **body} if method == "put" else body
    with pytest.raises(UnprocessableEntityError) as refused:
        await getattr(client.http, method)(f"/store/{path}", json=whole)
    assert field in cast("dict[str, Any]", refused.value.body)["detail"]


async def test_what_postgres_cannot_hold_is_survived(client: LangGraphClient) -> None:
    mine = a_namespace()
    await client.store.put_item(mine, "a", {"te\0xt": "a\0b", "big": 2**60, "emoji": "🧵"})
    assert (await client.store.get_item(mine, "a"))["value"] == {"text": "ab", "big": 2**60, "emoji": "🧵"}
    assert await keys(client, mine, filter={"text": "a\0b"}) == ["a"]


async def test_expired_items_are_gone_before_they_are_swept(stack: Stack, client: LangGraphClient) -> None:
    mine = a_namespace()
    await client.store.put_item(mine, "a", {}, ttl=5)
    await client.store.put_item(mine, "b", {})
    async with stack.database() as connection:
        await connection.execute(
            "update store set expires_at = now() where prefix = $1 and key = 'a'", ".".join(mine)
        )
    assert await client.store.get_item(mine, "a") is None
    assert await keys(client, mine) == ["b"]
    await client.store.delete_item(mine, "b")
    assert cast("dict[str, Any]", await client.store.list_namespaces(prefix=mine))["namespaces"] == []
    await client.store.put_item(mine, "a", {"new": True})
    assert (await client.store.get_item(mine, "a"))["value"] == {"new": True}


async def test_reading_refreshes_the_time_to_live_unless_told_otherwise(
    stack: Stack, client: LangGraphClient
) -> None:
    mine = a_namespace()
    # A third of a minute: the stock table keeps whole ones, and a refresh would end it.
    await cast(Any, client.store).put_item(mine, "a", {}, ttl=0.33)
    async with stack.database() as connection:

        async def left() -> float:
            """Seconds until the item expires; it is given ten before each look."""
            rest = "select extract(epoch from expires_at - now())::float from store where prefix = $1"
            secs = await connection.fetchval(rest, ".".join(mine))
            await connection.execute(
                "update store set expires_at = now() + interval '10 s' where prefix = $1", ".".join(mine)
            )
            return secs

        assert 15 < await left() < 20
        await client.store.get_item(mine, "a", refresh_ttl=False)
        assert await left() < 10
        await keys(client, mine, refresh_ttl=False)
        assert await left() < 10
        await client.store.get_item(mine, "a")
        assert 15 < await left() < 20
        await keys(client, mine)
        assert 15 < await left() < 20


# With an index and times to live


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def indexed() -> AsyncGenerator[Stack]:
    """The services that need the index start together on a database that has none of it."""
    async with running_stack("worker", "scheduler", "api", LANGGRAPH_CONFIG=str(INDEXED)) as stack:
        yield stack


@pytest.fixture
def indexing(indexed: Stack) -> LangGraphClient:
    return indexed.services("api")[0].client


NOTES = {
    "cats": "Cats sleep most of the day.",
    "loom": "A loom weaves threads into cloth.",
    "treadle": "The treadle of a loom lifts its threads.",
}


async def test_items_are_found_by_a_query(indexing: LangGraphClient) -> None:
    mine = a_namespace()
    for key, text in NOTES.items():
        await indexing.store.put_item(mine, key, {"text": text})
    await indexing.store.put_item(mine, "silent", {"other": "sleeping cats"})
    found = (await indexing.store.search_items(mine, query="a sleeping cat"))["items"]
    assert found[0]["key"] == "cats"
    scores = [cast("dict[str, Any]", item)["score"] for item in found]
    assert scores[0] > scores[1] >= scores[2]
    assert (found[3]["key"], scores[3]) == ("silent", None)
    assert await keys(
        indexing, mine, query="weaving looms", limit=1, filter={"text": {"$ne": NOTES["loom"]}}
    ) == ["treadle"]


async def test_a_query_pages_on_as_far_as_there_are_items(indexing: LangGraphClient) -> None:
    mine = a_namespace()
    for number in range(9):
        await indexing.store.put_item(mine, f"n{number}", {"text": f"note {'x' * number}"})
    whole = await keys(indexing, mine, query="note", limit=9)
    assert len(set(whole)) == 9
    pages = [await keys(indexing, mine, query="note", limit=2, offset=offset) for offset in range(0, 9, 2)]
    assert [key for page in pages for key in page] == whole


async def test_graphs_and_clients_find_what_the_other_put(indexing: LangGraphClient) -> None:
    mine = a_namespace()
    await indexing.store.put_item(mine, "theirs", {"text": NOTES["loom"]})
    put = {"key": "ours", "value": {"text": NOTES["cats"]}}
    ran = await wait(
        indexing, None, "remembering", input={"namespace": mine, "put": put, "query": "cloth from a loom"}
    )
    assert [key for key, _, _ in ran["found"]] == ["theirs", "ours"]
    assert await keys(indexing, mine, query="when do cats sleep?", limit=1) == ["ours"]


async def test_text_that_was_replaced_leads_to_an_item_no_more(indexing: LangGraphClient) -> None:
    mine = a_namespace()
    await indexing.store.put_item(mine, "a", {"text": NOTES["cats"]})
    await indexing.store.put_item(mine, "a", {"text": NOTES["cats"]}, index=False)
    await indexing.store.put_item(mine, "b", {"text": "unlike", "title": "cats"}, index=["title"])
    found = (await indexing.store.search_items(mine, query="cats"))["items"]
    assert [(item["key"], cast("dict[str, Any]", item)["score"] is None) for item in found] == [
        ("b", False),
        ("a", True),
    ]


async def test_expired_items_are_swept(indexed: Stack, indexing: LangGraphClient) -> None:
    mine = a_namespace()
    async with indexed.database() as connection:
        swept = await sweeping(connection)
        for key, text in NOTES.items():
            await cast(Any, indexing.store).put_item(mine, key, {"text": text}, ttl=0.001)
        await indexing.store.put_item(mine, "kept", {"text": "kept"})
        async with asyncio.timeout(20):
            assert {await swept.get() for _ in NOTES} == {".".join([*mine, key]) for key in NOTES}
        left = "select key, ttl_minutes from store join store_vectors using (prefix, key) where prefix = $1"
        assert [tuple(row) for row in await connection.fetch(left, ".".join(mine))] == [("kept", 60)]


async def sweeping(connection: asyncpg.Connection) -> asyncio.Queue[str]:
    """The names of items as they are removed from the table."""
    await connection.execute("""
        create function tell() returns trigger language plpgsql as $$
        begin perform pg_notify('swept', old.prefix || '.' || old.key); return null; end $$;
        create trigger tell after delete on store for each row execute function tell()
    """)
    swept = asyncio.Queue[str]()

    def hear(_: Any, pid: int, channel: str, name: Any) -> None:
        swept.put_nowait(str(name))

    await connection.add_listener("swept", hear)
    return swept
