"""Threads: made, found, changed, removed."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.e2e.reference.talk import Talk


async def made_and_removed(talk: Talk) -> None:
    made = await talk.post("/threads")
    thread = f"/threads/{made['thread_id']}"
    await talk.get(thread)
    await talk.call("DELETE", thread)
    await talk.get(thread)
    await talk.call("DELETE", thread)


async def of_the_clients_own_id(talk: Talk) -> None:
    mine = str(uuid4())
    await talk.post("/threads", {"thread_id": mine, "metadata": {"a": 1}})
    await talk.post("/threads", {"thread_id": mine})
    await talk.post("/threads", {"thread_id": mine, "if_exists": "raise"})
    await talk.post("/threads", {"thread_id": mine, "if_exists": "do_nothing", "metadata": {"b": 2}})


async def metadata(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.call("PATCH", thread, {"metadata": {"a": 1, "b": {"c": 2}}})
    await talk.call("PATCH", thread, {"metadata": {"b": {"d": 3}}})
    await talk.call("PATCH", thread, {})
    await talk.call("PATCH", thread, {"metadata": {"e": 1}}, headers={"Prefer": "return=minimal"})
    await talk.get(thread)
    await talk.call("PATCH", f"/threads/{uuid4()}", {"metadata": {}})


async def after_a_run(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(
        thread, "steps", {"text": "a"}, config={"tags": ["x"], "recursion_limit": 10}, metadata={"mine": 1}
    )
    await talk.get(thread)


async def after_a_failure(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "failing", {"text": "a"})
    await talk.get(thread)
    await talk.get(f"{thread}/state")
    await talk.get(f"{thread}/runs")
    await talk.run(thread, "steps", {"text": "a"})
    await talk.get(thread)


async def with_two_graphs(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "steps", {"text": "a"})
    await talk.run(thread, "routing", {"text": "b"})
    await talk.get(thread)


async def with_a_time_to_live(talk: Talk) -> None:
    made = await talk.post("/threads", {"ttl": {"strategy": "delete", "ttl": 60}})
    thread = f"/threads/{made['thread_id']}"
    await talk.get(f"{thread}?include=ttl")
    await talk.call("PATCH", thread, {"ttl": {"strategy": "keep_latest", "ttl": 120}, "metadata": {"a": 1}})
    await talk.get(thread)
    await talk.post("/threads", {"ttl": {"ttl": 1, "strategy": "forget"}}, names="ttl")
    await talk.post("/threads", {"ttl": {"ttl": "long"}}, names="ttl")
    await talk.post("/threads", {"ttl": {"ttl": -1}}, names="ttl")
    await talk.post("/threads", {"ttl": {"strategy": "delete"}}, names="ttl")
    await talk.get(f"{thread}?include=secrets", names="include")


def _step(as_node: str, **update: Any) -> dict[str, Any]:
    return {"updates": [{"as_node": as_node, **update}]}


INPUT = _step("__input__", values={"text": "a"})


async def with_a_history(talk: Talk) -> None:
    supersteps = [INPUT, _step("first", values={"text": "b", "steps": ["mine"]})]
    made = await talk.post("/threads", {"metadata": {"graph_id": "steps"}, "supersteps": supersteps})
    thread = f"/threads/{made['thread_id']}"
    await talk.get(f"{thread}/state")
    await talk.post(f"{thread}/history", {"limit": 10})
    await talk.run(thread, "steps", None)
    await talk.post("/threads", {"metadata": {"graph_id": "steps"}, "supersteps": []})


async def with_commands_in_its_history(talk: Talk) -> None:
    command = {"goto": "odd", "update": {"steps": ["me"]}}
    supersteps = [INPUT, _step("choose", values=None, command=command)]
    made = await talk.post("/threads", {"metadata": {"graph_id": "routing"}, "supersteps": supersteps})
    await talk.get(f"/threads/{made['thread_id']}/state")


async def with_steps_at_once_in_its_history(talk: Talk) -> None:
    both = {"updates": [{"as_node": side, "values": {"steps": [side]}} for side in ("left", "right")]}
    made = await talk.post("/threads", {"metadata": {"graph_id": "pair"}, "supersteps": [INPUT, both]})
    await talk.get(f"/threads/{made['thread_id']}/state")


async def with_a_history_that_cannot_be(talk: Talk) -> None:
    mine = str(uuid4())
    steps = {"graph_id": "steps"}
    refused = [INPUT, _step("nonode", values={"text": "b"})]
    await talk.post("/threads", {"thread_id": mine, "metadata": steps, "supersteps": refused}, names="nonode")
    await talk.get(f"/threads/{mine}")
    await talk.post("/threads", {"supersteps": [INPUT]}, names="graph_id")
    await talk.post(
        "/threads", {"metadata": {"graph_id": "nograph"}, "supersteps": [INPUT]}, names="graph_id"
    )
    await talk.post("/threads", {"metadata": steps, "supersteps": [{"updates": []}]}, names="updates")
    await talk.post("/threads", {"metadata": steps, "supersteps": [{}]}, names="updates")
    unnamed = [{"updates": [{"values": {"text": "a"}}]}]
    await talk.post("/threads", {"metadata": steps, "supersteps": unnamed}, names="as_node")


async def with_a_history_though_it_exists(talk: Talk) -> None:
    mine = {"thread_id": str(uuid4()), "metadata": {"graph_id": "steps"}}
    supersteps = [INPUT, _step("first", values={"steps": ["mine"]})]
    await talk.post("/threads", {**mine, "supersteps": supersteps})
    await talk.post("/threads", {**mine, "supersteps": supersteps, "if_exists": "do_nothing"})
    await talk.post("/threads", {**mine, "supersteps": supersteps})
