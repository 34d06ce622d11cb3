"""Threads through the public Python client."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

from tests.e2e.test_runs import begun, new_thread


async def test_a_new_thread_is_at_rest_and_empty(client: LangGraphClient) -> None:
    thread = cast("dict[str, Any]", await client.threads.create(metadata={"team": "blue"}))
    assert UUID(thread["thread_id"]).version == 7
    assert datetime.fromisoformat(thread["created_at"]).tzinfo is not None
    rest = {name: thread[name] for name in ("metadata", "status", "config", "values", "error", "interrupts")}
    assert rest == {
        "metadata": {"team": "blue"}, "status": "idle", "config": {}, "values": None, "error": None, "interrupts": {},
    }  # fmt: skip
    assert await client.threads.get(thread["thread_id"]) == thread


async def test_a_client_may_choose_the_id(client: LangGraphClient) -> None:
    mine = str(uuid4())
    assert (await client.threads.create(thread_id=mine))["thread_id"] == mine
    with pytest.raises(ConflictError, match=mine):
        await client.threads.create(thread_id=mine)
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=mine, if_exists="raise")


async def test_a_thread_that_exists_is_left_as_it_is_when_asked(client: LangGraphClient) -> None:
    mine = str(uuid4())
    made = await client.threads.create(thread_id=mine, metadata={"a": 1})
    assert await client.threads.create(thread_id=mine, if_exists="do_nothing", metadata={"b": 2}) == made


async def test_a_graph_may_be_named_in_advance(client: LangGraphClient) -> None:
    thread = await client.threads.create(graph_id="steps")
    assert thread["metadata"] == {"graph_id": "steps"}
    updated = await client.threads.update_state(thread["thread_id"], {"text": "first words"})
    assert UUID(cast("dict[str, Any]", updated["checkpoint"])["checkpoint_id"])
    assert (await client.threads.get(thread["thread_id"]))["values"] == {"text": "first words", "steps": []}


async def test_metadata_are_merged(client: LangGraphClient) -> None:
    thread = await client.threads.create(metadata={"a": 1, "b": {"c": 2}})
    patched = await client.threads.update(thread["thread_id"], metadata={"b": {"d": 3}, "e": 4})
    assert patched["metadata"] == {"a": 1, "b": {"d": 3}, "e": 4}
    assert patched["updated_at"] > thread["updated_at"]
    assert await client.threads.get(thread["thread_id"]) == patched


async def test_a_patch_may_answer_with_nothing(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    assert await client.threads.update(thread, metadata={"a": 1}, return_minimal=True) is None
    assert (await client.threads.get(thread))["metadata"] == {"a": 1}


async def test_a_thread_keeps_the_config_of_its_last_run(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    config: Any = {"tags": ["x"], "recursion_limit": 10, "configurable": {"secret": 1}, "metadata": {"m": 1}}
    await client.runs.wait(thread, "steps", input={"text": "a"}, config=config)
    shown = cast("dict[str, Any]", await client.threads.get(thread))
    assert shown["config"] == {
        "tags": ["x"],
        "recursion_limit": 10,
        "configurable": {},
        "metadata": {"m": 1},
    }


async def test_text_that_postgres_cannot_hold_is_survived(client: LangGraphClient) -> None:
    thread = await client.threads.create(metadata={"nul": "a\0b", "plain": "ok"})
    assert thread["metadata"] == {"nul": "ab", "plain": "ok"}
    config: Any = {"tags": ["a\0b"]}
    values = cast(
        "dict[str, Any]",
        await client.runs.wait(thread["thread_id"], "steps", input={"text": "a\0b"}, config=config),
    )
    assert values["text"] == "A\0B!"


async def test_a_removed_thread_is_gone_with_its_runs(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "steps", input={"text": "a"})
    await client.runs.join(thread, run["run_id"])
    await client.threads.delete(thread)
    for gone in (
        client.threads.get(thread),
        client.threads.delete(thread),
        client.threads.update(thread, metadata={}),
        client.threads.get_state(thread),
        client.threads.get_history(thread),
        client.runs.get(thread, run["run_id"]),
        client.runs.list(thread),
        client.runs.create(thread, "steps", input={}),
    ):
        with pytest.raises(NotFoundError):
            await gone
    await client.threads.create(thread_id=thread)
    assert await client.threads.get_history(thread) == []


async def test_a_thread_shows_how_its_runs_left_it(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    stream = client.runs.stream(thread, "slow", input={"delay": 60}, stream_mode=["custom"])
    await begun(stream)
    assert (await client.threads.get(thread))["status"] == "busy"
    run = (await client.runs.list(thread))[0]
    await client.runs.cancel(thread, run["run_id"], wait=True)
    cancelled = cast("dict[str, Any]", await client.threads.get(thread))
    assert (cancelled["status"], cancelled["error"]["error"]) == ("interrupted", "UserInterrupt")
    await client.runs.wait(thread, "slow", input={"delay": 0})
    shown = cast("dict[str, Any]", await client.threads.get(thread))
    assert (shown["status"], shown["error"]) == ("idle", None)


@pytest.mark.parametrize(
    ("field", "body"),
    [("thread", {"thread_id": "nope"}), ("if_exists", {"if_exists": "x"}), ("metadata", {"metadata": [1]})],
)
async def test_a_refused_thread_names_the_field(
    client: LangGraphClient, field: str, body: dict[str, Any]
) -> None:
    with pytest.raises(UnprocessableEntityError) as refused:
        await client.http.post("/threads", json=body)
    assert field in cast("dict[str, Any]", refused.value.body)["detail"]


def step(as_node: str, values: Any = None, command: Any = None) -> dict[str, Sequence[dict[str, Any]]]:
    return {"updates": [{"as_node": as_node, "values": values, "command": command}]}


async def test_a_thread_can_be_made_with_a_history(client: LangGraphClient) -> None:
    supersteps = [step("__input__", {"text": "a"}), step("first", {"text": "b", "steps": ["mine"]})]
    thread = cast("dict[str, Any]", await client.threads.create(graph_id="steps", supersteps=supersteps))
    assert (thread["status"], thread["values"]) == ("interrupted", {"text": "b", "steps": ["mine"]})
    history = await client.threads.get_history(thread["thread_id"])
    assert [state["next"] for state in history] == [["second"], ["__start__"]]
    values = cast("dict[str, Any]", await client.runs.wait(thread["thread_id"], "steps", input=None))
    assert values == {"text": "b!", "steps": ["mine", "second"]}


async def test_a_history_may_hold_commands_and_steps_that_happen_at_once(client: LangGraphClient) -> None:
    goes: Any = [
        step("__input__", {"text": "a"}),
        step("choose", command={"goto": "even", "update": {"steps": ["me"]}}),
    ]
    routed = await client.threads.create(graph_id="routing", supersteps=goes)
    assert (await client.threads.get_state(routed["thread_id"]))["next"] == ["even"]
    both: dict[str, Sequence[dict[str, Any]]] = {
        "updates": [*step("left", {"steps": ["l"]})["updates"], *step("right", {"steps": ["r"]})["updates"]]
    }
    paired = await client.threads.create(graph_id="pair", supersteps=[step("__input__", {"text": "a"}), both])
    assert (paired["status"], paired["values"]) == ("idle", {"steps": ["l", "r"]})


@pytest.mark.parametrize(
    ("graph_id", "last", "named"),
    [
        ("steps", step("nonode", {"text": "b"}), "nonode"),
        ("steps", step("first", ["not", "values"]), "supersteps"),
        ("steps", {"updates": []}, "updates"),
        ("nograph", step("first", {"text": "b"}), "graph_id"),
        (None, step("first", {"text": "b"}), "graph_id"),
    ],
)
async def test_nothing_stays_of_a_history_that_is_refused(
    client: LangGraphClient, graph_id: str | None, last: Any, named: str
) -> None:
    mine = str(uuid4())
    good = [step("__input__", {"text": "a"}), step("first", {"text": "b"})]
    with pytest.raises(UnprocessableEntityError) as refused:
        await client.threads.create(thread_id=mine, graph_id=graph_id, supersteps=[*good, last])
    assert named in cast("dict[str, Any]", refused.value.body)["detail"]
    with pytest.raises(NotFoundError):
        await client.threads.get(mine)
    await client.threads.create(thread_id=mine, graph_id="steps")
    assert await client.threads.get_history(mine) == []


async def test_a_thread_that_exists_gets_no_second_history(client: LangGraphClient) -> None:
    mine = str(uuid4())
    supersteps = [step("__input__", {"text": "a"}), step("first", {"steps": ["mine"]})]
    made = await client.threads.create(thread_id=mine, graph_id="steps", supersteps=supersteps)
    again = await client.threads.create(
        thread_id=mine, graph_id="steps", supersteps=supersteps, if_exists="do_nothing"
    )
    assert again == made
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=mine, graph_id="steps", supersteps=supersteps)


@pytest.mark.parametrize(
    "ttl", [{"ttl": -1}, {"ttl": "x"}, {"strategy": "delete"}, {"ttl": 1, "strategy": "x"}, {"ttl": 1e12}]
)
async def test_a_time_to_live_that_cannot_be_is_refused(client: LangGraphClient, ttl: dict[str, Any]) -> None:
    with pytest.raises(UnprocessableEntityError, match="ttl"):
        await client.threads.create(ttl=ttl)


async def test_only_what_is_known_can_be_included(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    assert "ttl" not in await client.threads.get(thread, include=["ttl"])  # it has none
    with pytest.raises(UnprocessableEntityError, match="include"):
        await client.threads.get(thread, include=["secrets"])
