"""Time travel: runs and updates that begin at an earlier checkpoint."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.e2e.reference.talk import Talk


async def replayed(talk: Talk) -> None:
    thread, history = await _row(talk)
    after_one = _where(history, "two")
    await talk.stream(
        thread, "row", None, checkpoint_id=after_one["checkpoint_id"], stream_mode=["values", "updates"]
    )
    await talk.get(f"{thread}/state")
    await talk.post(f"{thread}/history", {"limit": 20})


async def replayed_by_the_config(talk: Talk) -> None:
    thread, history = await _row(talk)
    after_one = _where(history, "two")
    config = {"configurable": {"checkpoint_id": after_one["checkpoint_id"]}}
    await talk.run(thread, "row", None, config=config)
    await talk.get(f"{thread}/state")


async def with_a_new_input(talk: Talk) -> None:
    thread, history = await _row(talk)
    after_one = _where(history, "two")
    await talk.run(thread, "row", {"steps": ["anew"]}, checkpoint=after_one["checkpoint"])
    await talk.get(f"{thread}/state")


async def from_the_very_first(talk: Talk) -> None:
    thread, history = await _row(talk)
    await talk.run(thread, "row", None, checkpoint=history[-1]["checkpoint"])
    await talk.get(f"{thread}/state")


async def at_the_end(talk: Talk) -> None:
    thread, history = await _row(talk)
    await talk.run(thread, "row", None, checkpoint=history[0]["checkpoint"])
    await talk.run(thread, "row", None)
    await talk.get(f"{thread}/state")


async def updated_and_gone_on_with(talk: Talk) -> None:
    thread, history = await _row(talk)
    after_one = _where(history, "two")
    made = await talk.post(
        f"{thread}/state", {"values": {"steps": ["mended"]}, "checkpoint": after_one["checkpoint"]}
    )
    await talk.get(f"{thread}/state")
    await talk.get(thread)
    await talk.run(thread, "row", None, checkpoint=made["checkpoint"])
    await talk.get(thread)
    await talk.post(f"{thread}/history", {"limit": 3})


async def updated_as_a_node(talk: Talk) -> None:
    thread, history = await _row(talk)
    await talk.post(
        f"{thread}/state",
        {
            "values": {"steps": ["in place of two"]},
            "as_node": "two",
            "checkpoint_id": _where(history, "two")["checkpoint_id"],
        },
    )
    await talk.run(thread, "row", None)
    await talk.get(f"{thread}/state")


async def copied(talk: Talk) -> None:
    thread, history = await _row(talk)
    after_one = _where(history, "two")
    await talk.post(
        f"{thread}/state",
        {"values": None, "as_node": "__copy__", "checkpoint": after_one["checkpoint"]},
    )
    await talk.get(f"{thread}/state")
    await talk.run(thread, "row", None)


async def a_question_asked_again(talk: Talk) -> None:
    thread, asked = await _asked(talk)
    await talk.run(thread, "approval", command={"resume": "first"})
    await talk.run(thread, "approval", None, checkpoint=asked["checkpoint"])
    await talk.get(f"{thread}/state")
    await talk.run(thread, "approval", command={"resume": "second"})
    await talk.get(thread)


async def a_question_answered_again(talk: Talk) -> None:
    thread, asked = await _asked(talk)
    await talk.run(thread, "approval", command={"resume": "first"})
    await talk.run(thread, "approval", command={"resume": "second"}, checkpoint=asked["checkpoint"])
    await talk.get(f"{thread}/state")
    await talk.post(f"{thread}/history", {"limit": 10})


async def a_question_answered_again_by_its_id(talk: Talk) -> None:
    thread, asked = await _asked(talk)
    [waiting] = asked["interrupts"]
    await talk.run(thread, "approval", command={"resume": {waiting["id"]: "first"}})
    await talk.run(
        thread, "approval", command={"resume": {waiting["id"]: "second"}}, checkpoint=asked["checkpoint"]
    )


async def a_question_in_a_forked_past(talk: Talk) -> None:
    thread, asked = await _asked(talk)
    await talk.run(thread, "approval", command={"resume": "first"})
    made = await talk.post(
        f"{thread}/state", {"values": {"text": "forked"}, "checkpoint": asked["checkpoint"]}
    )
    await talk.run(thread, "approval", None, checkpoint=made["checkpoint"])
    await talk.run(thread, "approval", command={"resume": "second"})
    await talk.get(thread)


async def of_a_subgraph(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "nested", {"text": "a"})
    state = await talk.get(f"{thread}/state?subgraphs=true", kept=False)
    inner = state["tasks"][0]["state"]["checkpoint"]
    await talk.post(f"{thread}/state", {"values": {"text": "b"}, "checkpoint": inner})
    await talk.get(f"{thread}/state?subgraphs=true")
    await talk.run(thread, "nested", command={"resume": "yes"})
    await talk.get(thread)


async def where_nothing_is(talk: Talk) -> None:
    thread, _ = await _row(talk)
    await talk.run(thread, "row", None, checkpoint_id=str(uuid4()))
    await talk.run(thread, "row", {"steps": ["new"]}, checkpoint_id=str(uuid4()))


async def no_input_on_an_empty_thread(talk: Talk) -> None:
    await talk.run(await talk.thread(), "row", None)
    await talk.run(await talk.thread(), "row", {})


async def _row(talk: Talk) -> tuple[str, list[dict[str, Any]]]:
    """A thread on which three nodes have run, and its history."""
    thread = await talk.thread()
    await talk.run(thread, "row", {"steps": ["in"]})
    return thread, await talk.post(f"{thread}/history", {"limit": 100}, kept=False)


async def _asked(talk: Talk) -> tuple[str, dict[str, Any]]:
    """A thread on which a question waits, and the state in which it does."""
    thread = await talk.thread()
    await talk.run(thread, "approval", {"text": "a"})
    return thread, await talk.get(f"{thread}/state", kept=False)


def _where(history: list[dict[str, Any]], node: str) -> dict[str, Any]:
    """The state in which a node is next."""
    return next(state for state in history if state["next"] == [node])
