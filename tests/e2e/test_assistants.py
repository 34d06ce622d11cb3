"""Assistants: each graph has one."""

from __future__ import annotations

import json
from typing import Any, cast
from uuid import UUID, uuid4, uuid5

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

from tests.e2e.test_runs import new_thread
from tests.stack import GRAPHS

NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
STEPS = str(uuid5(NAMESPACE, "steps"))


async def test_every_graph_has_its_assistant(client: LangGraphClient) -> None:
    graphs = set(json.loads(GRAPHS.read_text(encoding="utf-8"))["graphs"])
    found = await client.assistants.search(limit=100)
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
    assert [each["assistant_id"] for each in await client.assistants.search(graph_id="steps")] == [STEPS]
    assert await client.assistants.search(graph_id="nograph") == []
    everything = await client.assistants.search(limit=100)
    pages = [
        await client.assistants.search(limit=5, offset=offset) for offset in range(0, len(everything), 5)
    ]
    assert [each for page in pages for each in page] == everything
    page = cast("dict[str, Any]", await client.assistants.search(limit=5, response_format="object"))
    assert page["next"] == "5"


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
