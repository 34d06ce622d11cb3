"""The public JavaScript client, unmodified, run by node: what it sends is understood, and it understands the answers."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import pytest

from tests.node import SCRIPTS, node

TWICE = ["first", "second"]
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
MODES = ["values", "updates", "messages-tuple", "custom", "debug", "events", "tasks", "checkpoints"]


async def test_a_stream_has_every_mode_that_was_asked_for(api_url: str) -> None:
    *events, told = await node("streams", api_url, graph="chat", input=HI, streamMode=MODES)

    names = {event["event"] for event in events}
    assert names == {"metadata", *MODES, "messages"} - {"messages-tuple", "custom"}
    assert [event["id"] for event in events] == [f"1-{n}" for n in range(len(events))]
    assert told["created"]["run_id"] == events[0]["data"]["run_id"]
    tokens = [event["data"][0]["content"] for event in events if event["event"] == "messages"]
    assert "".join(tokens) == "Hello there friend"


@pytest.mark.parametrize("mode", [*MODES, "messages"])
async def test_each_mode_streams_alone(api_url: str, mode: str) -> None:
    events = await node("streams", api_url, graph="chat", input=HI, streamMode=mode)

    names = {event["event"].partition("/")[0] for event in events[:-1]} - {"metadata"}
    assert names == {mode.removesuffix("-tuple")} - {"custom"}


async def test_the_events_of_subgraphs_have_their_namespace(api_url: str) -> None:
    given: dict[str, Any] = {
        "input": {"text": "a"},
        "streamMode": ["updates", "custom"],
        "streamSubgraphs": True,
    }
    *events, _ = await node("streams", api_url, graph="parent", **given)

    assert [re.sub(r"child:[0-9a-f-]{36}", "child:ID", event["event"]) for event in events] == [
        "metadata", "custom|child:ID", "updates|child:ID", "updates|child:ID", "updates", "updates",
    ]  # fmt: skip


async def test_a_stream_is_joined_in_part_from_the_middle_and_across_cuts(api_url: str) -> None:
    given: dict[str, Any] = {"graph": "slow", "input": {"delay": 0.2}, "cuts": 1}
    everything, rest, custom, values, mended, told = await node("joins", api_url, **given)

    assert [event["event"] for event in everything] == [
        "metadata", "values", "values", "custom", "custom", "values", "values",
    ]  # fmt: skip
    assert rest == everything[4:]
    assert custom == [event for event in everything if event["event"] != "values"]
    assert values == everything[-1]["data"]
    assert (mended, told) == (everything, {"cuts": 1})


async def test_runs_are_waited_for_listed_cancelled_and_removed(api_url: str) -> None:
    message = "the node failed on purpose"
    assert await node("runs", api_url) == [
        {"text": "HI!", "steps": TWICE},
        "success",
        {"text": "HI!", "steps": TWICE},
        {"text": "HI!", "steps": TWICE * 2},
        [1, None],
        f"ValueError: {message}",
        {"error": "ValueError", "message": message},
        "interrupted",
        404,
    ]


async def test_threads_and_their_states_are_read_and_changed(api_url: str) -> None:
    assert await node("threads", api_url) == [
        {"who": "js", "graph_id": "steps"},
        True,
        409,
        {"who": "js", "graph_id": "steps", "more": 1},
        {"text": "HI!", "steps": TWICE},
        [2, 1, 0, -1],
        ["__start__"],
        ["__start__"],
        ["second"],
        {"text": "changed!", "steps": [*TWICE, "second"]},
        404,
    ]


async def test_assistants_of_ones_own_are_made_changed_and_run(api_url: str) -> None:
    assert await node("assistants", api_url) == [
        ["steps", "mine", 1],
        "renamed",
        True,
        [2, 1],
        "mine",
        ["__start__", "first", "second", "__end__"],
        ["text", "steps"],
        "A!",
        404,
    ]


async def test_the_store_keeps_finds_and_forgets(api_url: str) -> None:
    assert await node("store", api_url) == [{"colour": "red", "size": 1}, ["two"], 1, ["two"]]


async def test_questions_are_asked_and_answered(api_url: str) -> None:
    assert await node("interrupts", api_url) == [
        [{"question": "go on?"}],
        "interrupted",
        {"text": "hi:yes", "steps": ["ask", "after"]},
        ["left?", "right?"],
        ["left:to left?", "right:to right?"],
        ["second"],
        TWICE,
        "sent!",
    ]


async def test_the_hook_use_stream_talks_asks_stops_and_comes_back(api_url: str) -> None:
    talk, asked, answered, stopped, rejoined, fetched = await node("use_stream", api_url)

    # The graph's reply always has the same id: the second one replaces the first.
    assert talk == {"text": "hi|Hello there friend|again", "threads": 1, "runs": 2, "history": 6}
    assert asked == {"asked": {"question": "go on?"}}
    assert answered == {"values": {"text": "hi:yes", "steps": ["ask", "after"]}, "asked": None}
    assert stopped == {"stopped": "interrupted"}
    assert rejoined == {"rejoined": True, "steps": ["before", "slept", "done"]}
    assert fetched == {"text": "hi|Hello there friend"}


def test_the_lock_has_hashes_and_no_addresses() -> None:
    text = (SCRIPTS / "package-lock.json").read_text(encoding="utf-8")
    packages = cast("dict[str, dict[str, Any]]", json.loads(text)["packages"])
    assert "://" not in text
    assert all("integrity" in package for name, package in packages.items() if name)


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_the_event_streaming_protocol_is_spoken(api_url: str, transport: str) -> None:
    told = await node("protocol", api_url, transport=transport)

    assert told[:8] == [
        {"run": "string", "output": "It is fine in Bern"},
        {
            "messages": ["Let me look.", "It is fine in Bern"],
            "tools": [["weather", {"city": "Bern"}, "fine in Bern"]],
        },
        {"payload": {"question": "go on?"}},
        {"text": "a:yes", "steps": ["ask", "after"]},
        {"text": "a:yes"},
        {"subgraph": "expert"},
        {"steps": {"nodes": ["report"]}},
        {"error": "the node failed on purpose"},
    ]
    assert told[8] == "not_supported"
    if transport == "sse":
        assert told[9] == {"cuts": 3, "numbers": list(range(60))}


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_the_store_behind_the_hooks_follows_a_thread(api_url: str, transport: str) -> None:
    answered = {"text": "a:yes", "steps": ["ask", "after"], "messages": []}
    assert await node("controller", api_url, transport=transport) == [
        ["hi", "Let me look.", "fine in Bern", "It is fine in Bern"],
        [["weather", {"city": "Bern"}]],
        8,
        {"loading": False, "error": None},
        8,
        [{"question": "go on?"}],
        answered,
        [],
    ]
