"""A thread's state and history."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.e2e.reference.talk import Talk


async def of_an_empty_thread(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.get(f"{thread}/state")
    await talk.get(f"{thread}/history")
    await talk.post(f"{thread}/history")
    await talk.get(f"/threads/{uuid4()}/state")
    await talk.get(f"/threads/{uuid4()}/history")


async def after_a_run(talk: Talk) -> None:
    thread = await _ran(talk, metadata={"mine": 1}, config={"configurable": {"c": 1}, "metadata": {"cm": 2}})
    await talk.get(f"{thread}/state")
    await talk.post(f"{thread}/history", {"limit": 10})


async def at_a_checkpoint(talk: Talk) -> None:
    thread = await _ran(talk)
    history = await _history(talk, thread)
    second = history[1]["checkpoint_id"]
    await talk.get(f"{thread}/state/{second}")
    await talk.post(f"{thread}/state/checkpoint", {"checkpoint": {"checkpoint_id": second}})
    await talk.post(f"{thread}/state/checkpoint", {"checkpoint": history[2]["checkpoint"]})
    await talk.get(f"{thread}/state/{uuid4()}")
    await talk.get(f"{thread}/state/nope")


async def of_subgraphs(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "parent", {"text": "x"})
    await talk.post(f"{thread}/history", {"limit": 10})
    history = await _history(talk, thread)
    child = next(task for state in history for task in state["tasks"] if task["name"] == "child")
    await talk.post(f"{thread}/state/checkpoint", {"checkpoint": child["checkpoint"]})
    await talk.post(f"{thread}/history", {"limit": 10, "checkpoint": child["checkpoint"]})


async def updated(talk: Talk) -> None:
    thread = await _ran(talk)
    await talk.post(f"{thread}/state", {"values": {"text": "new", "steps": ["me"]}})
    await talk.get(f"{thread}/state")
    await talk.get(thread)
    await talk.post(f"{thread}/state", {"values": {"text": "again"}, "as_node": "first"})
    await talk.get(f"{thread}/state")
    await talk.get(thread)
    await talk.run(thread, "steps", None)
    await talk.post(f"{thread}/state", {"values": None})
    await talk.post(f"{thread}/state", {})
    await talk.post(f"{thread}/state", {"values": {"nokey": 1}})
    await talk.post(f"{thread}/state", {"values": None, "as_node": "__end__"})
    await talk.get(f"{thread}/state")


async def updated_in_the_past(talk: Talk) -> None:
    thread = await _ran(talk)
    history = await _history(talk, thread)
    await talk.post(f"{thread}/state", {"values": {"text": "fork"}, "checkpoint": history[1]["checkpoint"]})
    await talk.get(f"{thread}/state")
    await talk.run(thread, "steps", None)
    await talk.post(
        f"{thread}/state", {"values": {"text": "fork 2"}, "checkpoint_id": history[1]["checkpoint_id"]}
    )
    await talk.get(f"{thread}/state")
    await talk.run(thread, "steps", None, checkpoint=history[1]["checkpoint"])
    await talk.run(thread, "steps", None, checkpoint_id=history[1]["checkpoint_id"])


async def updated_while_a_question_waits(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "approval", {"text": "a"})
    await talk.post(f"{thread}/state", {"values": {"text": "b"}})
    await talk.get(f"{thread}/state")
    await talk.get(thread)
    await talk.post(f"{thread}/state", {"values": {"steps": ["skipped"]}, "as_node": "ask"})
    await talk.get(thread)
    await talk.run(thread, "approval", None)


async def updated_where_it_cannot_be(talk: Talk) -> None:
    await talk.post(f"{await talk.thread()}/state", {"values": {"text": "a"}}, names="graph")
    await talk.post(f"/threads/{uuid4()}/state", {"values": {"text": "a"}})
    thread = await _ran(talk)
    await talk.post(f"{thread}/state", {"values": {"text": "a"}, "as_node": "nonode"}, names="as_node")
    await talk.post(f"{thread}/state", {"values": "text"}, names="values")
    await talk.get(f"{thread}/state")


async def history(talk: Talk) -> None:
    thread = await _ran(talk)
    states = await _history(talk, thread)
    await talk.get(f"{thread}/history")
    await talk.get(f"{thread}/history?limit=2")
    await talk.get(f"{thread}/history?limit=2&before={states[1]['checkpoint_id']}")
    await talk.post(f"{thread}/history")
    await talk.post(f"{thread}/history", {"limit": 0}, names="limit")
    await talk.get(f"{thread}/history?limit=0", names="limit")
    await talk.post(f"{thread}/history", {"limit": 2, "before": {"configurable": states[1]["checkpoint"]}})
    await talk.post(f"{thread}/history", {"limit": 10, "metadata": {"step": 1}})
    await talk.post(f"{thread}/history", {"limit": 10, "metadata": {"source": "input"}})
    await talk.post(
        f"{thread}/history", {"limit": 10, "checkpoint": {"checkpoint_id": states[1]["checkpoint_id"]}}
    )
    await talk.post(f"{thread}/history", {"limit": 1001}, names="limit")


async def with_each_durability(talk: Talk) -> None:
    for durability in ("sync", "async", "exit"):
        thread = await talk.thread()
        await talk.run(thread, "steps", {"text": "a"}, durability=durability)
        await talk.post(f"{thread}/history", {"limit": 10})


async def _ran(talk: Talk, **body: Any) -> str:
    thread = await talk.thread()
    await talk.run(thread, "steps", {"text": "hi"}, **body)
    return thread


async def _history(talk: Talk, thread: str) -> list[dict[str, Any]]:
    return await talk.post(f"{thread}/history", {"limit": 100}, kept=False)


async def updated_inside_of_a_subgraph(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "nested", {"text": "a"})
    state = await talk.get(f"{thread}/state")
    inside = state["tasks"][0]["checkpoint"]
    await talk.post(f"{thread}/state", {"values": {"text": "inside"}, "checkpoint": inside})
    await talk.post(f"{thread}/state/checkpoint", {"checkpoint": inside})
    await talk.get(f"{thread}/state?subgraphs=true")
    await talk.get(thread)
    await talk.run(thread, "nested", command={"resume": "yes"})


async def updated_with_lists(talk: Talk) -> None:
    thread = await _ran(talk)
    await talk.post(f"{thread}/state", {"values": [{"text": "a"}], "as_node": "first"}, names="values")


async def selected(talk: Talk) -> None:
    thread = await _ran(talk)
    await talk.get(f"{thread}/state?select=values.text&select=next")
    await talk.post(f"{thread}/history", {"limit": 1, "select": ["next"]})
    await talk.get(f"{thread}/state?select=nothing", names="select")
