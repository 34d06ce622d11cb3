"""Assistants: made, found, changed, described, removed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from tests.e2e.reference.talk import Talk
from treadle.model import default_assistant_id

SETTINGS: dict[str, Any] = {
    "config": {"tags": ["t", "u"], "recursion_limit": 7, "configurable": {"a": 1, "b": {"x": 1}}},
    "metadata": {"kind": "k", "both": "assistant", "nested": {"x": 1}},
}


async def made(talk: Talk) -> None:
    await talk.post("/assistants", {"graph_id": "steps"})
    mine = str(uuid4())
    await talk.post(
        "/assistants",
        {"graph_id": "seen", "assistant_id": mine, "name": "mine", "description": "of mine", **SETTINGS},
    )
    await talk.get(f"/assistants/{mine}")
    await talk.post("/assistants", {"graph_id": "seen", "assistant_id": mine})
    await talk.post("/assistants", {"graph_id": "seen", "assistant_id": mine, "if_exists": "raise"})
    again = {"graph_id": "steps", "assistant_id": mine, "if_exists": "do_nothing", "name": "other"}
    await talk.post("/assistants", again)
    await talk.post("/assistants", {"graph_id": "seen", "context": {"a": 1}})
    await talk.post("/assistants", {"graph_id": "seen", "config": {"tags": ["t"]}, "context": {"a": 1}})
    await talk.post("/assistants", {"graph_id": "seen", "config": {"configurable": {}}, "context": {}})
    await talk.post("/assistants", {"graph_id": "seen", "name": ""})


async def refused(talk: Talk) -> None:
    await talk.post("/assistants", {"graph_id": "nograph"}, names="nograph")
    await talk.post("/assistants", {}, names="graph_id")
    await talk.post("/assistants", {"graph_id": "seen", "assistant_id": "nope"})
    wrong: dict[str, Any] = {
        "if_exists": "bogus",
        "metadata": [],
        "config": 5,
        "context": "x",
        "name": 5,
        "description": 5,
    }
    for name, value in wrong.items():
        await talk.post("/assistants", {"graph_id": "seen", name: value}, names=name)
    await talk.post("/assistants", {"graph_id": "seen", "config": {"recursion_limit": "x"}})
    both = {"config": {"configurable": {"a": 1}}, "context": {"a": 1}}
    await talk.post("/assistants", {"graph_id": "seen", **both}, names="context")
    made = await _made(talk)
    await talk.call("PATCH", made, both, names="context")
    await talk.call("PATCH", made, {"graph_id": "nograph"}, names="nograph")
    await talk.call("PATCH", made, "{bad")


async def unknown(talk: Talk) -> None:
    for path in (f"/assistants/{uuid4()}", "/assistants/nope"):
        await talk.get(path)
        await talk.call("PATCH", path, {"name": "x"})
        await talk.call("DELETE", path)
        await talk.post(f"{path}/versions")
        await talk.post(f"{path}/latest", {"version": 1})
        for inside in ("schemas", "graph", "subgraphs", "subgraphs/child"):
            await talk.get(f"{path}/{inside}")


async def changed(talk: Talk) -> None:
    one = await _made(talk, **SETTINGS)
    changes: list[dict[str, Any]] = [
        {},
        {"metadata": {"nested": {"y": 2}, "more": 1}},
        {"config": {"configurable": {"c": 3}}},
        {"context": {"d": 4}},
        {"config": {"tags": ["v"]}, "context": {"e": 5}},
        {"context": {"f": 6}},
        {"config": {"tags": ["w"]}},
        {"config": {}},
        {"context": {}},
        {"name": "new", "description": "newer"},
        {"name": "", "description": ""},
        {"graph_id": "steps"},
    ]
    for change in changes:
        await talk.call("PATCH", one, change)
    await talk.get(one)


async def versions(talk: Talk) -> None:
    one = await _made(talk, **SETTINGS)
    await talk.call("PATCH", one, {"config": {"tags": ["v"]}, "metadata": {"kind": "l"}})
    await talk.call("PATCH", one, {"name": "third"})
    await talk.post(f"{one}/versions")
    await talk.post(f"{one}/versions", {"limit": 1, "offset": 1})
    await talk.post(f"{one}/versions", {"metadata": {"kind": "k"}})
    await talk.post(f"{one}/versions", {"metadata": {"kind": "none"}})
    await talk.post(f"{one}/versions", {"limit": 0}, names="limit")
    await talk.post(f"{one}/latest", {"version": 2})
    await talk.get(one)
    await talk.post(f"{one}/versions", {"limit": 1})
    await talk.call("PATCH", one, {"name": "fourth"})
    await talk.post(f"{one}/latest", {"version": 99}, names="99")
    await talk.post(f"{one}/latest", {}, names="version")
    await talk.post(f"{one}/latest", {"version": "x"}, names="version")


async def back_to_another_graph(talk: Talk) -> None:
    one = await _made(talk, context={"a": 1})
    await talk.call("PATCH", one, {"graph_id": "steps", "context": {"b": 2}})
    await talk.post(f"{one}/latest", {"version": 1})


async def found(talk: Talk) -> None:
    mark = {"mark": str(uuid4())}
    for number, graph in enumerate(("steps", "chat", "steps", "chat")):
        body = {"graph_id": graph, "name": f"{mark['mark']} N{number}", "metadata": {**mark, "n": number}}
        await talk.post("/assistants", body)
    searches: list[dict[str, Any]] = [
        {},
        {"limit": 3},
        {"limit": 3, "offset": 3},
        {"offset": 4},
        {"graph_id": "chat"},
        {"metadata": {**mark, "n": 2}},
        {"metadata": {**mark, "n": 5}},
        {"name": "n1"},
        {"name": "%"},
        {"sort_by": "name"},
        {"sort_by": "name", "sort_order": "asc"},
        {"sort_by": "created_at", "sort_order": "asc", "select": ["name"]},
        {"sort_order": "asc", "select": ["name"]},
        {"select": ["metadata", "version"]},
        {"select": []},
    ]
    for search in searches:
        await talk.post("/assistants/search", {"metadata": mark, **search})
    await talk.post("/assistants/count", {"metadata": mark})
    await talk.post("/assistants/count", {"metadata": mark, "graph_id": "chat"})
    await talk.post("/assistants/count", {"metadata": mark, "name": "N1"})
    await talk.post("/assistants/count", {"graph_id": "nograph"})
    wrong: dict[str, Any] = {
        "limit": 1001, "offset": -1, "sort_by": "bogus", "sort_order": "ASC", "select": ["bogus"], "metadata": "x",
    }  # fmt: skip
    for name, value in wrong.items():
        await talk.post("/assistants/search", {name: value}, names=name)
    await talk.post("/assistants/count", {"metadata": "x"}, names="metadata")


async def described(talk: Talk) -> None:
    for graph in ("steps", "contextual", "functional", "chat"):
        await talk.get(f"/assistants/{default_assistant_id(graph)}/schemas")
    await talk.get("/assistants/steps/schemas")
    await talk.get("/assistants/steps/subgraphs")


async def drawn(talk: Talk) -> None:
    for graph in ("steps", "chat", "functional", "routing", "fanout"):
        await talk.get(f"/assistants/{graph}/graph")
    one = f"/assistants/{default_assistant_id('parent')}"
    for xray in ("", "?xray=true", "?xray=false", "?xray=1", "?xray=2"):
        await talk.get(f"{one}/graph{xray}")
    for xray in ("0", "-1", "bogus"):
        await talk.get(f"{one}/graph?xray={xray}", names="xray")


async def subgraphs(talk: Talk) -> None:
    one = f"/assistants/{default_assistant_id('parent')}/subgraphs"
    for path in ("", "?recurse=true", "/child", "/child?recurse=true", "/nowhere"):
        await talk.get(one + path)
    await talk.get(f"/assistants/{default_assistant_id('steps')}/subgraphs")


async def run(talk: Talk) -> None:
    one = (await _made(talk, **SETTINGS)).rpartition("/")[2]
    bodies: list[dict[str, Any]] = [
        {},
        {"config": {"tags": ["v"], "recursion_limit": 9, "configurable": {"b": {"y": 2}, "c": 3}}},
        {"config": {"metadata": {"both": "config", "mine": 1}}},
        {"metadata": {"both": "run", "nested": {"y": 1}}},
        {"context": {"b": 5}},
    ]
    for body in bodies:
        thread = await talk.thread()
        await talk.run(thread, one, {}, **body)
        await talk.get(f"{thread}/runs")
        await talk.get(thread)
    await talk.run(await talk.thread(), one, {}, context={"b": 5}, config={"configurable": {"b": 5}})


async def run_with_a_context(talk: Talk) -> None:
    made = await talk.post(
        "/assistants", {"graph_id": "contextual", "context": {"user": "ann", "language": "en"}}
    )
    thread, one = await talk.thread(), made["assistant_id"]
    await talk.run(thread, one, {})
    await talk.run(thread, one, {}, context={"user": "bob"})
    await talk.call("PATCH", f"/assistants/{one}", {"context": {"user": "cat"}})
    await talk.run(thread, one, {})


async def removed(talk: Talk) -> None:
    one = await _made(talk, graph="steps")
    thread = await talk.thread()
    await talk.run(thread, one.rpartition("/")[2], {"text": "a"})
    await talk.call("DELETE", one)
    await talk.get(one)
    await talk.call("DELETE", one)
    await talk.post(f"{one}/versions")
    await talk.get(thread)
    await talk.run(thread, one.rpartition("/")[2], {"text": "a"})


async def removed_with_its_threads(talk: Talk) -> None:
    one = await _made(talk, graph="steps")
    its, other = await talk.thread(), await talk.thread()
    await talk.run(its, one.rpartition("/")[2], {"text": "a"})
    await talk.run(other, "steps", {"text": "a"})
    await talk.call("DELETE", f"{one}?delete_threads=true")
    await talk.get(its)
    await talk.get(f"{its}/state")
    await talk.get(f"{other}/state")


async def removed_while_it_runs(talk: Talk) -> None:
    one, thread = await _made(talk, graph="slow"), await talk.thread()
    body = {"assistant_id": one.rpartition("/")[2], "input": {"delay": 20}, "stream_mode": "custom"}
    async with talk.following(f"{thread}/runs/stream", body) as stream:
        await stream.until("custom")
        waits = await talk.begun(thread, one.rpartition("/")[2], {"delay": 20})
        await talk.call("DELETE", one)
        await asyncio.gather(talk.ended(stream.run), talk.ended(waits))
    await talk.get(stream.run)
    await talk.get(waits)


async def _made(talk: Talk, graph: str = "seen", **body: Any) -> str:
    """A new assistant; its path."""
    made = await talk.post("/assistants", {"graph_id": graph, "name": "one", **body})
    return f"/assistants/{made['assistant_id']}"
