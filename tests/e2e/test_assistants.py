"""Assistants: each graph has one, and clients make more."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, cast
from uuid import UUID, uuid4, uuid5

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError
from langgraph_sdk.schema import Assistant

from tests.e2e.steps import begun, new_thread, wait
from tests.stack import GRAPHS, Service

NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
STEPS = str(uuid5(NAMESPACE, "steps"))
CONTEXTUAL = str(uuid5(NAMESPACE, "contextual"))


@pytest.fixture
async def ann(client: LangGraphClient) -> AsyncGenerator[Assistant]:
    """An assistant for one user."""
    made = await client.assistants.create(
        "contextual", context={"user": "ann", "language": "en"}, metadata={"team": str(uuid4())}, name="Ann's"
    )
    yield made
    if await client.assistants.count(metadata=cast(Any, made["metadata"])):
        await client.assistants.delete(made["assistant_id"])


async def greeting(client: LangGraphClient, assistant: str, **body: Any) -> str:
    """What the graph `contextual` makes of its context: `<language>:<user>`."""
    return (await wait(client, None, assistant, input={"text": ""}, **body))["text"]


async def test_every_graph_has_its_assistant(client: LangGraphClient) -> None:
    graphs = set(json.loads(GRAPHS.read_text(encoding="utf-8"))["graphs"])
    found = await client.assistants.search(limit=100, metadata={"created_by": "system"})
    assert {each["graph_id"]: each["assistant_id"] for each in found} == {
        graph: str(uuid5(NAMESPACE, graph)) for graph in graphs
    }


async def test_an_assistant_is_described(client: LangGraphClient) -> None:
    assistant = cast("dict[str, Any]", await client.assistants.get(STEPS))
    del assistant["created_at"], assistant["updated_at"]
    assert assistant == {
        "assistant_id": STEPS, "graph_id": "steps", "name": "steps", "description": None, "version": 1,
        "config": {}, "context": {}, "metadata": {"created_by": "system"},
    }  # fmt: skip


async def test_assistants_are_found_by_graph_and_page_by_page(client: LangGraphClient) -> None:
    system = {"created_by": "system"}
    found = await client.assistants.search(graph_id="steps", metadata=system)
    assert [each["assistant_id"] for each in found] == [STEPS]
    assert await client.assistants.search(graph_id="nograph") == []
    everything = await client.assistants.search(limit=100, metadata=system)
    pages = [
        await client.assistants.search(limit=5, offset=offset, metadata=system)
        for offset in range(0, len(everything), 5)
    ]
    assert [each for page in pages for each in page] == everything
    page = cast(
        "dict[str, Any]",
        await client.assistants.search(limit=5, metadata=system, response_format="object"),
    )
    assert page["next"] == "5"


async def test_assistants_are_found_by_name_and_metadata_sorted_and_in_part(
    client: LangGraphClient,
) -> None:
    team = {"team": str(uuid4())}
    for name in ("b_b", "A", "c"):
        await client.assistants.create("steps", name=name, metadata={**team, "at": {"name": name}})
    by_name = await client.assistants.search(
        metadata=team, sort_by="name", sort_order="asc", select=["name", "version"]
    )
    assert sorted(cast(Any, by_name), key=lambda each: each["name"].lower()) == [
        {"name": "A", "version": 1},
        {"name": "b_b", "version": 1},
        {"name": "c", "version": 1},
    ]
    underscore = await client.assistants.search(metadata=team, name="B_")
    assert [each["name"] for each in underscore] == ["b_b"]
    assert await client.assistants.count(metadata={**team, "at": {"name": "c"}}) == 1
    assert await client.assistants.count(metadata=team, name="_", graph_id="steps") == 1
    assert await client.assistants.count(metadata=team, graph_id="chat") == 0


async def test_a_run_takes_a_graph_or_an_assistant(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    for name in ("steps", STEPS, STEPS.upper()):
        run = await client.runs.create(thread, name, input={"text": "a"})
        assert run["assistant_id"] == STEPS
        await client.runs.join(thread, run["run_id"])
        assert (await client.runs.wait(None, name, input={"text": "a"})) == {
            "text": "A!",
            "steps": ["first", "second"],
        }
        told = [part.event async for part in client.runs.stream(None, name, input={"text": "a"})]
        assert told[-1] == "values"


async def test_what_is_no_assistant_is_named(client: LangGraphClient) -> None:
    with pytest.raises(UnprocessableEntityError, match="must be a UUID"):
        await client.assistants.get("steps")
    missing = str(uuid4())
    with pytest.raises(NotFoundError, match=missing):
        await client.assistants.get(missing)
    with pytest.raises(NotFoundError, match=missing):
        await client.runs.create(None, missing, input={})
    with pytest.raises(UnprocessableEntityError, match=r"'nograph'.*agent, "):
        await client.runs.create(None, "nograph", input={})


async def test_numbers_that_are_too_large_are_refused(client: LangGraphClient) -> None:
    for search in ("/assistants/search", "/runs/crons/search", f"/assistants/{STEPS}/versions"):
        with pytest.raises(UnprocessableEntityError, match="offset"):
            await client.http.post(search, json={"offset": 2**63})
    for xray in ("0", "9" * 5000):
        with pytest.raises(UnprocessableEntityError, match="xray"):
            await client.http.get(f"/assistants/steps/graph?xray={xray}")


async def test_an_assistant_is_made_once(client: LangGraphClient, ann: Assistant) -> None:
    again: dict[str, Any] = {"assistant_id": ann["assistant_id"], "name": "other"}
    with pytest.raises(ConflictError, match="do_nothing"):
        await client.assistants.create("contextual", **again)
    assert await client.assistants.create("contextual", if_exists="do_nothing", **again) == ann


async def test_a_graph_that_cannot_be_opened_is_refused(client: LangGraphClient) -> None:
    with pytest.raises(NotFoundError, match="'nograph' is not served here"):
        await client.assistants.create("nograph")
    with pytest.raises(UnprocessableEntityError, match=r"graph_id: .*'choosy'.*no node for 'bogus'"):
        await client.assistants.create("choosy", context={"words": ["bogus"]})
    made = await client.assistants.create("choosy", context={"words": ["good"]})
    for graph in ("", "nograph"):
        with pytest.raises(NotFoundError, match=f"graph '{graph}' is not served here"):
            await client.http.patch(f"/assistants/{made['assistant_id']}", json={"graph_id": graph})
    with pytest.raises(UnprocessableEntityError, match="no node for 'bogus'"):
        await client.assistants.update(made["assistant_id"], context={"words": ["bogus"]})
    assert (await client.assistants.get(made["assistant_id"]))["version"] == 1
    assert await wait(client, None, made["assistant_id"], input={}) == {"answer": "good"}


async def test_a_factory_makes_a_graph_for_each_assistant(client: LangGraphClient) -> None:
    made = await client.assistants.create("choosy", context={"words": ["one", "two"]})
    drawn = await client.assistants.get_graph(made["assistant_id"])
    assert {node["id"] for node in drawn["nodes"]} == {"__start__", "one", "two", "__end__"}
    default = await client.assistants.get_graph("choosy")
    assert {node["id"] for node in default["nodes"]} == {"__start__", "hello", "__end__"}


async def test_a_run_has_the_context_of_its_assistant_under_its_own(
    client: LangGraphClient, ann: Assistant
) -> None:
    one = ann["assistant_id"]
    assert await greeting(client, one) == "en:ann"
    assert await greeting(client, one, context={"user": "bob"}) == "en:bob"
    assert await greeting(client, one, config={"configurable": {"language": "fr"}}) == "fr:ann"
    run = await client.runs.create(None, one, input={"text": ""}, metadata={"mine": 1})
    assert cast(Any, run["metadata"])["team"] == cast(Any, ann["metadata"])["team"]
    assert cast(Any, run["metadata"])["mine"] == 1


async def test_a_change_makes_a_version_and_the_old_one_can_come_back(
    client: LangGraphClient, ann: Assistant
) -> None:
    one = ann["assistant_id"]
    await client.assistants.update(one, context={"user": "bob"}, metadata={"more": 1}, name="Bob's")
    changed = await client.assistants.update(one, graph_id="seen", description="looks")
    assert changed["version"] == 3
    assert changed["context"] == {"user": "bob"}
    assert changed["metadata"] == {**cast(Any, ann["metadata"]), "more": 1}
    versions = await client.assistants.get_versions(one)
    assert [(each["version"], each["graph_id"], each["name"]) for each in versions] == [
        (3, "seen", "Bob's"),
        (2, "contextual", "Bob's"),
        (1, "contextual", "Ann's"),
    ]
    with_more = await client.assistants.get_versions(one, metadata={"more": 1}, limit=1, offset=1)
    assert [each["version"] for each in with_more] == [2]
    back = await client.assistants.set_latest(one, 1)
    assert {**cast(Any, back), "updated_at": None} == {**cast(Any, ann), "updated_at": None}
    assert await greeting(client, one) == "en:ann"
    assert (await client.assistants.update(one, name="fourth"))["version"] == 4
    with pytest.raises(NotFoundError, match="Version 9"):
        await client.assistants.set_latest(one, 9)


async def test_every_api_process_sees_a_change_at_once(
    client: LangGraphClient, other_api: Service, ann: Assistant
) -> None:
    """Invariant: a run is made from what its assistant is, whichever process changed it."""
    one, other = ann["assistant_id"], other_api.client
    assert await greeting(client, one) == await greeting(other, one) == "en:ann"
    for user in ("bob", "cat"):
        await client.assistants.update(one, context={"user": user})
        assert await greeting(other, one) == f"-:{user}"
    await other.assistants.set_latest(one, 1)
    assert await greeting(client, one) == "en:ann"
    await other.assistants.delete(one)
    with pytest.raises(NotFoundError, match=one):
        await client.runs.create(None, one, input={"text": ""})
    await other.assistants.create("contextual", assistant_id=one, context={"user": "dan"})
    assert await greeting(client, one) == "-:dan"
    await client.assistants.delete(one)


async def test_the_assistant_of_a_graph_can_be_changed_and_not_removed(client: LangGraphClient) -> None:
    await client.assistants.update(CONTEXTUAL, context={"user": "all"})
    try:
        assert await greeting(client, "contextual") == "-:all"
        await client.assistants.update(CONTEXTUAL, graph_id="steps")
        with pytest.raises(ConflictError, match=r"'contextual'.*langgraph\.json"):
            await client.assistants.delete(CONTEXTUAL)
    finally:
        await client.assistants.set_latest(CONTEXTUAL, 1)
    assert await greeting(client, "contextual") == "-:-"


async def test_schemas_and_subgraphs_are_told(client: LangGraphClient) -> None:
    schemas = cast(Any, await client.assistants.get_schemas(CONTEXTUAL))
    assert schemas["graph_id"] == "contextual"
    assert set(schemas["input_schema"]["properties"]) == {"text", "steps"}
    assert set(schemas["context_schema"]["properties"]) == {"user", "language"}
    assert schemas["config_schema"] == schemas["context_schema"]
    parent = str(uuid5(NAMESPACE, "parent"))
    for options in ({}, {"recurse": True}, {"namespace": "child"}):
        assert set(await client.assistants.get_subgraphs(parent, **cast(Any, options))) == {"child"}
    assert await client.assistants.get_subgraphs(parent, namespace="nowhere") == {}
    flat = await client.assistants.get_graph(parent)
    deep = await client.assistants.get_graph(parent, xray=1)
    assert "child" in {node["id"] for node in flat["nodes"]}
    assert "child:inner_a" in {node["id"] for node in deep["nodes"]}


async def test_removing_an_assistant_stops_its_runs_and_removes_its_threads_if_wished(
    client: LangGraphClient,
) -> None:
    made = await client.assistants.create("slow")
    one, thread, kept = made["assistant_id"], await new_thread(client), await new_thread(client)
    stream = client.runs.stream(thread, one, input={"delay": 20}, stream_mode="custom")
    await begun(stream)
    await client.assistants.delete(one, delete_threads=True)
    with pytest.raises(NotFoundError, match=thread):
        await client.threads.get(thread)
    assert (await client.threads.get(kept))["status"] == "idle"
    with pytest.raises(NotFoundError, match=one):
        await client.assistants.get_versions(one)


async def test_removing_an_assistant_interrupts_its_runs_and_no_others(client: LangGraphClient) -> None:
    made = await client.assistants.create("slow")
    one, thread = made["assistant_id"], await new_thread(client)
    await begun(client.runs.stream(thread, one, input={"delay": 20}, stream_mode="custom"))
    waiting = await client.runs.create(thread, one, input={"delay": 20})
    other = await client.runs.create(thread, "steps", input={"text": "a"})
    await client.assistants.delete(one)
    await client.runs.join(thread, other["run_id"])
    ended = {run["run_id"]: run["status"] for run in await client.runs.list(thread)}
    assert ended.pop(other["run_id"]) == "success"
    assert ended[waiting["run_id"]] == "interrupted"
    assert set(ended.values()) == {"interrupted"}
