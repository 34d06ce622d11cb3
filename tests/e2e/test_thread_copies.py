"""Copying, pruning and measuring threads through the public Python client."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

from tests.e2e.steps import begun, leave, new_thread, values, wait


async def copied(client: LangGraphClient, thread: str) -> dict[str, Any]:
    return cast("dict[str, Any]", await cast(Any, client.threads).copy(thread))


async def history(client: LangGraphClient, thread: str) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", await client.threads.get_history(thread, limit=100))


async def pruned(client: LangGraphClient, *threads: str) -> int:
    return (await client.threads.prune(threads, strategy="keep_latest"))["pruned_count"]


async def standing(client: LangGraphClient, thread: str) -> list[dict[str, Any]]:
    """Where a thread and its subgraphs stand, from the outermost in, without what came before."""
    state = cast("dict[str, Any]", await client.threads.get_state(thread, subgraphs=True))
    inner = [task.pop("state") for task in state["tasks"]]
    parts = ("values", "next", "tasks", "interrupts", "checkpoint")
    return [{part: each[part] for part in parts} for each in [state, *inner] if each]


async def test_a_copy_has_the_whole_history(client: LangGraphClient) -> None:
    thread = (await client.threads.create(metadata={"mine": 1}))["thread_id"]
    await wait(client, thread, "parent", input={"text": "a"})
    copy = await copied(client, thread)
    source = cast("dict[str, Any]", await client.threads.get(thread))
    assert copy["thread_id"] != thread
    for field in ("metadata", "status", "values", "interrupts"):
        assert copy[field] == source[field]
    theirs = str(await history(client, thread)).replace(thread, copy["thread_id"])
    assert str(await history(client, copy["thread_id"])) == theirs
    assert await client.runs.list(copy["thread_id"]) == []


async def test_a_copy_goes_its_own_way(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await wait(client, thread, "approval", input={"text": "a"})
    copy = await copied(client, thread)
    assert copy["status"] == "interrupted"
    assert copy["interrupts"]
    answer = await wait(client, copy["thread_id"], "approval", command={"resume": "yes"})
    assert answer == {"text": "a:yes", "steps": ["ask", "after"]}
    assert await values(client, thread) == {"text": "a", "steps": []}
    await client.threads.delete(copy["thread_id"])
    assert (await wait(client, thread, "approval", command={"resume": "no"}))["text"] == "a:no"


async def test_a_thread_is_copied_while_it_runs(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    stream = client.runs.stream(thread, "slow", input={"delay": 0.3}, stream_mode="custom", durability="sync")
    await begun(stream)
    copy = await copied(client, thread)
    assert copy["status"] == "idle"
    state = await client.threads.get_state(copy["thread_id"])
    assert (state["values"], state["next"]) == ({"delay": 0.3, "steps": ["before"]}, ["sleep"])
    await leave(stream)
    assert (await wait(client, copy["thread_id"], "slow", input=None))["steps"] == ["before", "slept", "done"]


async def test_a_thread_that_is_not_there_cannot_be_copied(client: LangGraphClient) -> None:
    with pytest.raises(NotFoundError):
        await client.threads.copy(str(uuid4()))


async def test_pruning_keeps_the_newest_state_and_goes_on_from_it(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    for text in ("a", "b"):
        await wait(client, thread, "parent", input={"text": text})
    [newest, *_] = await history(client, thread)
    assert await pruned(client, thread, thread) == 1
    [kept] = await history(client, thread)
    assert kept["checkpoint"] == newest["checkpoint"]
    assert kept["values"] == newest["values"]
    assert len(await client.runs.list(thread)) == 2
    steps = (await wait(client, thread, "parent", input={"text": "c"}))["steps"]
    assert steps == [*cast("list[str]", newest["values"]["steps"]), *steps[len(newest["values"]["steps"]) :]]


@pytest.mark.parametrize("graph", ["approval", "nested", "pair"])
async def test_pruning_keeps_the_questions_that_wait(client: LangGraphClient, graph: str) -> None:
    thread = await new_thread(client)
    await wait(client, thread, graph, input={"text": "a"})
    before = await standing(client, thread)
    assert await pruned(client, thread) == 1
    after = await standing(client, thread)
    assert after == before
    if graph == "pair":
        waiting = [interrupt for task in after[0]["tasks"] for interrupt in task["interrupts"]]
        command: dict[str, Any] = {"resume": {interrupt["id"]: "yes" for interrupt in waiting}}
        assert (await wait(client, thread, graph, command=command))["steps"] == ["left:yes", "right:yes"]
    else:
        assert (await wait(client, thread, graph, command={"resume": "yes"}))["text"] == "a:yes"


async def test_what_runs_or_is_not_there_is_not_pruned(client: LangGraphClient) -> None:
    busy, idle = await new_thread(client), await new_thread(client)
    await wait(client, idle, "steps", input={"text": "a"})
    stream = client.runs.stream(busy, "slow", input={"delay": 0.3}, stream_mode="custom")
    await begun(stream)
    assert await pruned(client, busy, idle, str(uuid4())) == 1
    assert len(await history(client, idle)) == 1
    await leave(stream)


async def test_threads_are_removed_many_at_once(client: LangGraphClient) -> None:
    threads = [await new_thread(client) for _ in range(3)]
    run = await client.runs.create(threads[0], "slow", input={"delay": 30})
    assert await client.threads.prune([*threads, threads[1], str(uuid4())]) == {"pruned_count": 3}
    for thread in threads:
        with pytest.raises(NotFoundError):
            await client.threads.get(thread)
    with pytest.raises(NotFoundError):
        await client.runs.get(threads[0], run["run_id"])


async def test_what_cannot_be_pruned_is_refused(client: LangGraphClient) -> None:
    with pytest.raises(UnprocessableEntityError, match="thread ID"):
        await client.threads.prune(["one"])
    with pytest.raises(UnprocessableEntityError, match="strategy"):
        await client.threads.prune([], strategy=cast(Any, "forget"))


async def test_storage_counts_what_a_threads_checkpoints_take(api_url: str, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    async with httpx.AsyncClient(base_url=api_url) as http:
        empty = (await http.get(f"/threads/{thread}/storage")).json()
        await wait(client, thread, "steps", input={"text": "a"})
        told = (await http.get(f"/threads/{thread}/storage")).json()
        missing = await http.get(f"/threads/{uuid4()}/storage")
    nothing = {"count": 0, "bytes": 0}
    assert empty == {
        "thread_id": thread,
        "total_bytes": 0,
        "checkpoints": nothing,
        "channel_values": {**nothing, "by_channel": {}},
        "pending_writes": nothing,
    }
    parts = [told[part] for part in ("checkpoints", "channel_values", "pending_writes")]
    assert told["total_bytes"] == sum(part["bytes"] for part in parts)
    assert told["checkpoints"]["count"] == 4
    assert told["channel_values"]["by_channel"]["steps"]["versions"] == 2
    assert missing.status_code == 404
