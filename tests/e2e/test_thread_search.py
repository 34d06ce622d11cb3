"""Finding threads through the public Python client."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import UnprocessableEntityError

from tests.e2e.steps import begun, leave, new_thread, wait


class Found:
    """A few threads that nobody else's tests can find, in the order in which they were made."""

    def __init__(self, client: LangGraphClient) -> None:
        self.mark = str(uuid4())
        self._client = client

    async def make(self, **metadata: Any) -> str:
        made = await self._client.threads.create(metadata={"mark": self.mark, **metadata})
        return made["thread_id"]

    async def search(self, metadata: dict[str, Any] | None = None, **wanted: Any) -> list[dict[str, Any]]:
        found = await self._client.threads.search(metadata={"mark": self.mark, **(metadata or {})}, **wanted)
        return cast("list[dict[str, Any]]", found)

    async def ids(self, metadata: dict[str, Any] | None = None, **wanted: Any) -> list[str]:
        return [thread["thread_id"] for thread in await self.search(metadata, **wanted)]


@pytest.fixture
def mine(client: LangGraphClient) -> Found:
    return Found(client)


async def test_metadata_contain_what_is_searched_for(mine: Found) -> None:
    first = await mine.make(team="blue", tags=["a", "b"], owner={"name": "Ada", "age": 36})
    second = await mine.make(team="red")
    assert await mine.ids() == [second, first]
    holds: list[dict[str, Any]] = [
        {"team": "blue"},
        {"tags": ["b"]},
        {"owner": {"name": "Ada"}},
        {"owner": {}},
    ]
    for part in holds:
        assert await mine.ids(part) == [first]
    lacks: list[dict[str, Any]] = [
        {"team": "green"},
        {"team": None},
        {"tags": "a"},
        {"owner": {"name": "Ada", "age": 37}},
    ]
    for other in lacks:
        assert await mine.ids(other) == []


async def test_threads_that_changed_last_come_first(client: LangGraphClient, mine: Found) -> None:
    ids = [await mine.make() for _ in range(3)]
    await client.threads.update(ids[0], metadata={"touched": True})
    assert await mine.ids() == [ids[0], ids[2], ids[1]]
    assert await mine.ids(sort_order="asc") == [ids[1], ids[2], ids[0]]
    assert await mine.ids(sort_by="created_at") == ids[::-1]
    assert await mine.ids(sort_by="created_at", sort_order="asc") == ids
    assert await mine.ids(sort_by="thread_id", sort_order="asc") == ids
    assert await mine.ids(sort_by="state_updated_at", sort_order="asc") == ids


async def test_threads_are_found_by_what_they_hold(client: LangGraphClient, mine: Found) -> None:
    idle, asking, failed = [await mine.make() for _ in range(3)]
    await wait(client, idle, "steps", input={"text": "a"})
    await wait(client, asking, "approval", input={"text": "a"})
    await wait(client, failed, "failing", input={"text": "a"}, raise_error=False)
    assert await mine.ids(status="idle") == [idle]
    assert await mine.ids(status="interrupted") == [asking]
    assert await mine.ids(status="error") == [failed]
    assert await mine.ids(values={"text": "A!"}) == [idle]
    assert await mine.ids(values={"steps": ["second"]}) == [idle]
    assert await mine.ids(ids=[asking, str(uuid4())]) == [asking]
    assert await mine.ids({"graph_id": "approval"}) == [asking]
    assert [thread["status"] for thread in await mine.search(sort_by="status", sort_order="asc")] == [
        "error", "idle", "interrupted",
    ]  # fmt: skip
    [shown] = await mine.search(status="interrupted")
    assert shown == await client.threads.get(asking)


async def test_a_thread_with_a_run_is_busy(client: LangGraphClient, mine: Found) -> None:
    thread = await mine.make()
    stream = client.runs.stream(thread, "slow", input={"delay": 0.3}, stream_mode="custom")
    await begun(stream)
    assert await mine.ids(status="busy") == [thread]
    await leave(stream)


async def test_only_what_is_selected_is_sent(client: LangGraphClient, mine: Found) -> None:
    thread = await mine.make(n=1)
    await wait(client, thread, "steps", input={"text": "a"})
    [part] = await mine.search(select=["thread_id", "values"])
    assert part == {"thread_id": thread, "values": {"text": "A!", "steps": ["first", "second"]}}
    for field in (
        "thread_id",
        "created_at",
        "updated_at",
        "metadata",
        "config",
        "status",
        "values",
        "interrupts",
    ):
        assert [set(found) for found in await mine.search(select=[field])] == [{field}]
    assert await mine.search(select=["context"]) == [{}]  # one of the client's names, which no thread has
    assert await mine.search(select=[]) == [await client.threads.get(thread)]


async def test_values_are_extracted_by_their_paths(client: LangGraphClient, mine: Found) -> None:
    thread = await mine.make(owner={"names": ["Ada", "Lovelace"]})
    await wait(client, thread, "steps", input={"text": "a"})
    paths = {
        "last": "values.steps[-1]",
        "first": "values.steps[0]",
        "none": "values.steps[7]",
        "unknown": "values.nothing.here",
        "name": "metadata.owner.names[1]",
        "all": "values",
        "asks": "interrupts",
    }
    [found] = await mine.search(select=["thread_id"], extract=paths)
    assert found["extracted"] == {
        "last": "second",
        "first": "first",
        "none": None,
        "unknown": None,
        "name": "Lovelace",
        "all": {"text": "A!", "steps": ["first", "second"]},
        "asks": {},
    }


async def test_pages_say_where_the_next_one_begins(api_url: str, mine: Found) -> None:
    for _ in range(3):
        await mine.make()
    async with httpx.AsyncClient(base_url=api_url) as http:
        pages = [
            await http.post(
                "/threads/search",
                json={"metadata": {"mark": mine.mark}, "limit": 2, "offset": offset, "select": ["thread_id"]},
            )
            for offset in (0, 2, 4)
        ]
    told = [(len(page.json()), page.headers.get("x-pagination-next")) for page in pages]
    assert told == [(2, "2"), (1, None), (0, None)]
    assert [page.headers["x-pagination-total"] for page in pages] == ["3", "3", "4"]


async def test_threads_are_counted_by_the_same_filters(client: LangGraphClient, mine: Found) -> None:
    thread, _ = await mine.make(n=1), await mine.make(n=2)
    await wait(client, thread, "steps", input={"text": "a"})
    mark = {"mark": mine.mark}
    assert await client.threads.count(metadata=mark) == 2
    assert await client.threads.count(metadata={**mark, "n": 1}) == 1
    assert await client.threads.count(metadata=mark, status="error") == 0
    assert await client.threads.count(metadata=mark, values={"text": "A!"}) == 1


async def test_threads_of_stateless_runs_are_found_as_long_as_they_run(client: LangGraphClient) -> None:
    run = await client.runs.create(None, "slow", input={"delay": 0.3})
    threads = await client.threads.search(ids=[run["thread_id"]])
    assert [thread["status"] for thread in threads] == ["busy"]
    await client.runs.join(run["thread_id"], run["run_id"])
    assert await client.threads.search(ids=[run["thread_id"]]) == []


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"sort_by": "metadata"}, "sort_by"),
        ({"sort_order": "up"}, "sort_order"),
        ({"status": "asleep"}, "status"),
        ({"select": ["nothing"]}, "select"),
        ({"limit": 1001}, "limit"),
        ({"offset": -1}, "offset"),
        ({"ids": ["one"]}, "thread ID"),
        ({"metadata": ["a"]}, "metadata"),
        ({"extract": {"a": "status"}}, "extract.a"),
        ({"extract": {"a b": "values"}}, "extract"),
        ({"extract": {"values": "values"}}, "extract"),
        ({"extract": {f"a{n}": "values" for n in range(11)}}, "extract"),
    ],
)
async def test_what_cannot_be_searched_for_is_refused(
    client: LangGraphClient, wanted: dict[str, Any], field: str
) -> None:
    with pytest.raises(UnprocessableEntityError, match=field):
        await client.threads.search(**wanted)


async def test_a_new_thread_is_found_at_once(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    [found] = await client.threads.search(limit=1, sort_by="created_at")
    assert (await client.threads.search(ids=[thread]))[0]["thread_id"] == thread
    assert found["created_at"]
