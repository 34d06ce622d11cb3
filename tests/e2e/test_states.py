"""A thread's state through the public Python client: read, changed, and looked back upon."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import uuid4

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError
from langgraph_sdk.schema import Command

from tests.e2e.test_runs import begun, new_thread


async def ran(client: LangGraphClient, graph: str = "steps") -> str:
    thread = await new_thread(client)
    await client.runs.wait(thread, graph, input={"text": "a"})
    return thread


async def test_an_empty_thread_has_an_empty_state(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    state = cast("dict[str, Any]", await client.threads.get_state(thread))
    assert (state["values"], state["next"], state["tasks"], state["checkpoint"]) == ({}, [], [], None)
    assert await client.threads.get_history(thread) == []


async def test_the_state_tells_where_the_graph_stands(client: LangGraphClient) -> None:
    thread = await ran(client, "approval")
    state = cast("dict[str, Any]", await client.threads.get_state(thread))
    assert (state["next"], state["values"]) == (["ask"], {"text": "a", "steps": []})
    assert state["tasks"][0]["interrupts"] == state["interrupts"]
    assert state["interrupts"][0]["value"] == {"question": "go on?"}
    assert state["metadata"]["thread_id"] == thread
    assert state["checkpoint"]["checkpoint_id"] == state["checkpoint_id"]


async def test_the_state_has_those_of_subgraphs_inside_when_asked(client: LangGraphClient) -> None:
    thread = await ran(client, "nested")
    state = cast("dict[str, Any]", await client.threads.get_state(thread, subgraphs=True))
    inner = state["tasks"][0]["state"]
    assert inner["next"] == ["ask"]
    alone = await client.threads.get_state(thread, checkpoint=inner["checkpoint"])
    assert cast("dict[str, Any]", alone)["values"] == inner["values"]


async def test_each_checkpoint_can_be_read(client: LangGraphClient) -> None:
    thread = await ran(client)
    for past in await client.threads.get_history(thread, limit=100):
        checkpoint = past["checkpoint"]
        by_id = await client.threads.get_state(thread, checkpoint_id=cast("str", checkpoint["checkpoint_id"]))
        assert by_id["values"] == past["values"]
        assert (await client.threads.get_state(thread, checkpoint=checkpoint))["next"] == past["next"]


async def test_the_newest_state_can_be_asked_for_by_checkpoint_in_the_query(client: LangGraphClient) -> None:
    thread = await ran(client)
    first = (await client.threads.get_history(thread, limit=100))[-1]["checkpoint"]["checkpoint_id"]
    state = cast("dict[str, Any]", await client.http.get(f"/threads/{thread}/state?checkpoint_id={first}"))
    assert state["checkpoint_id"] == first


async def test_an_update_goes_through_the_reducers(client: LangGraphClient) -> None:
    thread = await ran(client)
    before = await client.threads.get(thread)
    await client.threads.update_state(thread, {"text": "new", "steps": ["me"]})
    assert (await client.threads.get_state(thread))["values"] == {
        "text": "new",
        "steps": ["first", "second", "me"],
    }
    after = await client.threads.get(thread)
    assert after["values"] == {"text": "new", "steps": ["first", "second", "me"]}
    assert (
        cast("dict[str, Any]", after)["state_updated_at"] > cast("dict[str, Any]", before)["state_updated_at"]
    )


async def test_an_update_as_a_node_goes_on_after_it(client: LangGraphClient) -> None:
    thread = await ran(client)
    await client.threads.update_state(thread, {"text": "again"}, as_node="first")
    assert (await client.threads.get_state(thread))["next"] == ["second"]
    assert (await client.threads.get(thread))["status"] == "interrupted"
    values = cast("dict[str, Any]", await client.runs.wait(thread, "steps", input=None))
    assert values["text"] == "again!"
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_a_waiting_question_can_be_skipped_by_an_update(client: LangGraphClient) -> None:
    thread = await ran(client, "approval")
    await client.threads.update_state(thread, {"steps": ["skipped"]}, as_node="ask")
    assert (await client.threads.get(thread))["interrupts"] == {}
    values = cast("dict[str, Any]", await client.runs.wait(thread, "approval", input=None))
    assert values["steps"] == ["skipped", "after"]


async def test_one_of_two_questions_can_be_answered_by_its_id(client: LangGraphClient) -> None:
    """The thread waits on: an interrupt is told once, and values without it may follow."""
    thread = await ran(client, "pair")
    state = cast("dict[str, Any]", await client.threads.get_state(thread))
    ids = {question["value"]: question["id"] for question in state["interrupts"]}
    answer = cast(
        "dict[str, Any]", await client.runs.wait(thread, "pair", command=Command(resume={ids["left?"]: "l"}))
    )
    assert [question["value"] for question in answer["__interrupt__"]] == ["right?"]
    shown = await client.threads.get(thread)
    assert shown["status"] == "interrupted"
    assert [found["value"] for task in shown["interrupts"].values() for found in task] == ["right?"]
    answer = cast(
        "dict[str, Any]", await client.runs.wait(thread, "pair", command=Command(resume={ids["right?"]: "r"}))
    )
    assert sorted(answer["steps"]) == ["left:l", "right:r"]
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_what_a_run_left_is_shown_though_there_was_no_memory_for_it_at_first(
    client: LangGraphClient,
) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "short_of_memory", input={}, stream_mode="custom")
    await client.runs.join(thread, run["run_id"])
    shown = await client.threads.get(thread)
    assert (shown["status"], shown["values"]) == ("error", {"heavy": {"text": "lead"}})


async def test_questions_come_in_the_order_of_their_tasks(client: LangGraphClient) -> None:
    """Whichever was reached first: a client that shows them by their place shows the same ones after it reads the state."""
    thread = await new_thread(client)
    answer = cast("dict[str, Any]", await client.runs.wait(thread, "overtaking", input={"answers": {}}))
    state = cast("dict[str, Any]", await client.threads.get_state(thread))
    assert [question["value"] for question in answer["__interrupt__"]] == ["first?", "second?"]
    assert [question["value"] for question in state["interrupts"]] == ["first?", "second?"]


async def test_no_run_begins_while_the_state_is_updated(client: LangGraphClient) -> None:
    """Invariant: updates and runs of a thread exclude each other, so that none of them is lost."""
    thread = await ran(client)

    async def update(number: int) -> bool:
        try:
            await client.threads.update_state(thread, {"steps": [f"u{number}"]})
        except ConflictError:
            return False
        return True

    async def run() -> None:
        await client.runs.wait(thread, "steps", input={"text": "b"})

    async with asyncio.TaskGroup() as tasks:
        updates = [tasks.create_task(update(number)) for number in range(8)]
        for _ in range(4):
            tasks.create_task(run())
    steps = cast("dict[str, Any]", (await client.threads.get_state(thread))["values"])["steps"]
    assert sorted(step for step in steps if step[0] == "u") == [
        f"u{n}" for n, task in enumerate(updates) if task.result()
    ]
    assert [step for step in steps if step[0] != "u"] == ["first", "second"] * 5


async def test_a_busy_thread_refuses_an_update(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await begun(client.runs.stream(thread, "slow", input={"delay": 60}, stream_mode=["custom"]))
    with pytest.raises(ConflictError, match="in-flight"):
        await client.threads.update_state(thread, {"steps": ["x"]})
    run = (await client.runs.list(thread))[0]
    await client.runs.cancel(thread, run["run_id"], wait=True)
    await client.threads.update_state(thread, {"steps": ["x"]})


async def test_history_is_paged_and_filtered(client: LangGraphClient) -> None:
    thread = await ran(client)
    states = await client.threads.get_history(thread, limit=100)
    steps = [cast("dict[str, Any]", state["metadata"])["step"] for state in states]
    assert steps == [2, 1, 0, -1]
    earlier = await client.threads.get_history(
        thread, limit=2, before=cast(Any, {"configurable": states[0]["checkpoint"]})
    )
    assert earlier == states[1:3]
    assert await client.threads.get_history(thread, metadata={"step": 1}) == [states[1]]
    assert await client.threads.get_history(thread, checkpoint=states[1]["checkpoint"]) == [states[1]]
    by_query = await client.http.get(
        f"/threads/{thread}/history?limit=1&before={states[0]['checkpoint']['checkpoint_id']}"
    )
    assert by_query == [states[1]]


async def test_the_history_without_a_limit_is_the_newest_state(client: LangGraphClient) -> None:
    thread = await ran(client)
    newest = await client.http.get(f"/threads/{thread}/history")
    assert newest == await client.http.post(f"/threads/{thread}/history", json={})
    assert newest == await client.threads.get_history(thread, limit=1)


@pytest.mark.parametrize(
    ("field", "path", "body"),
    [
        ("values", "state", {"values": "text"}),
        ("as_node", "state", {"values": {}, "as_node": "nonode"}),
        ("checkpoint", "state/checkpoint", {}),
        ("limit", "history", {"limit": 1001}),
        ("before", "history", {"before": 5}),
    ],
)
async def test_a_refused_request_names_the_field(
    client: LangGraphClient, field: str, path: str, body: dict[str, Any]
) -> None:
    thread = await ran(client)
    with pytest.raises(UnprocessableEntityError) as refused:
        await client.http.post(f"/threads/{thread}/{path}", json=body)
    assert field in cast("dict[str, Any]", refused.value.body)["detail"]


async def test_a_thread_without_a_graph_cannot_be_updated(client: LangGraphClient) -> None:
    with pytest.raises(UnprocessableEntityError, match="no graph yet"):
        await client.threads.update_state(await new_thread(client), {"text": "a"})
    with pytest.raises(NotFoundError):
        await client.threads.update_state(str(uuid4()), {"text": "a"})


async def test_a_graph_that_is_not_served_any_more_is_named(client: LangGraphClient) -> None:
    thread = (await client.threads.create(graph_id="retired"))["thread_id"]
    for request in (client.threads.get_state(thread), client.threads.update_state(thread, {})):
        with pytest.raises(NotFoundError, match="retired"):
            await request


async def test_the_state_of_a_subgraph_can_be_updated(client: LangGraphClient) -> None:
    thread = await ran(client, "nested")
    [task] = (await client.threads.get_state(thread))["tasks"]
    inside = cast("dict[str, Any]", task)["checkpoint"]
    written = await client.threads.update_state(thread, {"text": "inside"}, checkpoint=inside)
    assert cast("dict[str, Any]", written["checkpoint"])["checkpoint_ns"] == inside["checkpoint_ns"]
    assert (await client.threads.get_state(thread, checkpoint=inside))["values"] == {
        "text": "inside",
        "steps": [],
    }
    outer = cast("dict[str, Any]", await client.threads.get_state(thread, subgraphs=True))
    assert (outer["values"], outer["next"]) == ({"text": "a", "steps": []}, ["child"])
    assert outer["tasks"][0]["state"]["values"]["text"] == "inside"
    shown = await client.threads.get(thread)
    assert (shown["status"], shown["values"]) == ("interrupted", {"text": "a", "steps": []})
    values = cast("dict[str, Any]", await client.runs.wait(thread, "nested", command=Command(resume="yes")))
    assert values == {"text": "inside:yes", "steps": ["ask", "after"]}


async def test_only_what_is_selected_of_a_state_is_sent(client: LangGraphClient) -> None:
    thread = await ran(client)
    whole = cast("dict[str, Any]", await client.threads.get_state(thread))
    part = await client.threads.get_state(thread, select=["values.steps", "next"])
    assert part == {"values": {"steps": ["first", "second"]}, "next": []}
    at = cast("str", whole["checkpoint_id"])
    assert await client.threads.get_state(thread, checkpoint_id=at, select=["values"]) == {
        "values": whole["values"]
    }
    checkpoint = whole["checkpoint"]
    by_checkpoint = await client.threads.get_state(
        thread, checkpoint=checkpoint, select=["created_at", "values.no"]
    )
    assert by_checkpoint == {"created_at": whole["created_at"], "values": {}}
    history = await client.threads.get_history(thread, limit=2, select=["next"])
    assert history == [{"next": []}, {"next": ["second"]}]
    with pytest.raises(UnprocessableEntityError, match="select"):
        await client.threads.get_state(thread, select=["nothing"])
