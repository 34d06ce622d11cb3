"""Commands in place of an input: where to go, what to change, what to answer, and all of it together."""

from __future__ import annotations

from typing import Any

from tests.e2e.reference.talk import Talk


async def to_a_node(talk: Talk) -> None:
    thread = await _begun(talk)
    await talk.stream(thread, "commanded", command={"goto": "other"}, stream_mode=["values", "updates"])
    await talk.get(thread)


async def to_several_nodes(talk: Talk) -> None:
    await talk.run(await _begun(talk), "commanded", command={"goto": ["other", "named"]})


async def to_a_node_with_an_input(talk: Talk) -> None:
    thread = await _begun(talk)
    await talk.run(thread, "commanded", command={"goto": {"node": "named", "input": {"name": "a"}}})
    await talk.get(f"{thread}/state")


async def to_nodes_with_inputs(talk: Talk) -> None:
    sends = [{"node": "named", "input": {"name": name}} for name in ("a", "b")]
    await talk.run(await _begun(talk), "commanded", command={"goto": sends})
    await talk.run(await _begun(talk), "commanded", command={"goto": [*sends, "other"]})


async def an_update(talk: Talk) -> None:
    thread = await _begun(talk)
    await talk.run(thread, "commanded", command={"update": {"steps": ["updated"]}})
    await talk.get(f"{thread}/state")
    await talk.run(thread, "commanded", command={"update": [["steps", ["a"]], ["steps", ["b"]]]})
    await talk.run(thread, "commanded", command={"update": {"nothing": 1}})


async def an_update_and_a_node(talk: Talk) -> None:
    thread = await _begun(talk)
    await talk.run(thread, "commanded", command={"update": {"steps": ["updated"]}, "goto": "other"})
    await talk.post(f"{thread}/history", {"limit": 10})


async def everything_at_once(talk: Talk) -> None:
    thread = await _begun(talk)
    await talk.run(thread, "commanded", command={"goto": "question"})
    command = {"resume": "well", "update": {"steps": ["updated"]}, "goto": "other"}
    await talk.run(thread, "commanded", command=command)
    await talk.get(f"{thread}/state")


async def on_an_empty_thread(talk: Talk) -> None:
    await talk.run(await talk.thread(), "commanded", command={"goto": "other"})
    await talk.run(await talk.thread(), "commanded", command={"update": {"steps": ["updated"]}})


async def with_an_input_beside_it(talk: Talk) -> None:
    await talk.run(await _begun(talk), "commanded", {"steps": ["input"]}, command={"goto": "other"})


async def to_the_end(talk: Talk) -> None:
    thread = await _begun(talk)
    await talk.run(thread, "commanded", command={"goto": "question"})
    await talk.run(thread, "commanded", command={"goto": "__end__"})
    await talk.get(f"{thread}/state")


async def to_no_node(talk: Talk) -> None:
    thread = await _begun(talk)
    await talk.run(thread, "commanded", command={"goto": "nowhere"})
    await talk.get(thread)


async def to_the_parent(talk: Talk) -> None:
    await talk.run(await _begun(talk), "commanded", command={"graph": "__parent__", "goto": "other"})


async def empty(talk: Talk) -> None:
    thread = await _begun(talk)
    await talk.run(thread, "commanded", command={})
    await talk.run(thread, "commanded", command={"resume": None})
    await talk.run(thread, "commanded", command=None)


async def that_cannot_be_used(talk: Talk) -> None:
    thread = await _begun(talk)
    for command in ({"goto": 1}, {"goto": {"input": 1}}, {"update": "text"}, "text"):
        await talk.run(thread, "commanded", command=command)


async def from_a_subgraph_to_its_parent(talk: Talk) -> None:
    modes = ["values", "updates"]
    thread = await talk.thread()
    await talk.stream(thread, "handover", {"steps": ["in"]}, stream_mode=modes, stream_subgraphs=True)
    await talk.get(f"{thread}/state")


async def from_a_graph_without_a_parent(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.stream(thread, "orphan", {"steps": ["in"]}, stream_mode=["values", "updates"])
    await talk.get(thread)


async def _begun(talk: Talk) -> str:
    thread = await talk.thread()
    await talk.call("POST", f"{thread}/runs/wait", _input(), kept=False)
    return thread


def _input() -> dict[str, Any]:
    return {"assistant_id": "commanded", "input": {"steps": ["in"]}}
