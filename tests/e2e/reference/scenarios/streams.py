"""Every stream mode, of a plain graph, a chat, and a graph within a graph."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import product
from typing import Any

from tests.e2e.reference.talk import Talk

MODES = (
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "custom",
    "events",
    "debug",
    "tasks",
    "checkpoints",
)
INPUTS: dict[str, Any] = {
    "steps": {"text": "hi"},
    "parent": {"text": "x"},
    "chat": {"messages": [{"role": "user", "content": "hi", "id": "h-1"}]},
}


def _one(graph: str, mode: str, subgraphs: bool) -> Callable[[Talk], Awaitable[None]]:
    async def scenario(talk: Talk) -> None:
        await talk.stream(
            await talk.thread(), graph, INPUTS[graph], stream_mode=mode, stream_subgraphs=subgraphs
        )

    return scenario


MADE = {
    f"{graph} {mode}{' with subgraphs' if subgraphs else ''}": _one(graph, mode, subgraphs)
    for graph, mode, subgraphs in product(INPUTS, MODES, (False, True))
}


async def several_modes(talk: Talk) -> None:
    modes = ["values", "updates", "custom", "messages-tuple"]
    await talk.stream(
        await talk.thread(), "parent", INPUTS["parent"], stream_mode=modes, stream_subgraphs=True
    )
    await talk.stream(await talk.thread(), "chat", INPUTS["chat"], stream_mode=["messages", "messages-tuple"])


async def no_mode(talk: Talk) -> None:
    await talk.stream(await talk.thread(), "steps", INPUTS["steps"])
    await talk.stream(await talk.thread(), "steps", INPUTS["steps"], stream_mode=[])


async def a_second_turn_of_a_chat(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.run(thread, "chat", INPUTS["chat"])
    again = {"messages": [{"role": "user", "content": "and you?", "id": "h-2"}]}
    await talk.stream(thread, "chat", again, stream_mode=["values", "messages"])


async def a_failure(talk: Talk) -> None:
    for mode in ("values", "updates", "tasks", "debug", "events"):
        await talk.stream(await talk.thread(), "failing", INPUTS["steps"], stream_mode=mode)


async def an_interrupt(talk: Talk) -> None:
    for mode in ("values", "updates", "tasks", "debug", "checkpoints"):
        await talk.stream(await talk.thread(), "approval", INPUTS["steps"], stream_mode=mode)


async def a_nested_interrupt(talk: Talk) -> None:
    modes = ["values", "updates"]
    await talk.stream(
        await talk.thread(), "nested", INPUTS["steps"], stream_mode=modes, stream_subgraphs=True
    )
    await talk.stream(await talk.thread(), "nested", INPUTS["steps"], stream_mode=["debug", "tasks"])


async def every_mode_at_once(talk: Talk) -> None:
    modes = [mode for mode in MODES if mode != "messages-tuple"]
    await talk.stream(await talk.thread(), "chat", INPUTS["chat"], stream_mode=modes, stream_subgraphs=True)
    await talk.stream(
        await talk.thread(), "parent", INPUTS["parent"], stream_mode=modes, stream_subgraphs=True
    )


async def an_interrupt_and_its_answer_among_events(talk: Talk) -> None:
    thread = await talk.thread()
    modes = ["events", "values"]
    await talk.stream(thread, "nested", INPUTS["steps"], stream_mode=modes, stream_subgraphs=True)
    await talk.stream(thread, "nested", command={"resume": "yes"}, stream_mode=modes, stream_subgraphs=True)
    await talk.get(thread)


async def a_stop_among_events(talk: Talk) -> None:
    thread = await talk.thread()
    await talk.stream(thread, "row", {"steps": []}, stream_mode=["events"], interrupt_before=["two"])
    await talk.stream(thread, "row", None, stream_mode=["events"])
    await talk.get(thread)


async def a_handover_in_every_mode(talk: Talk) -> None:
    for mode in ("values", "updates", "tasks", "debug", "checkpoints"):
        await talk.stream(
            await talk.thread(), "handover", {"steps": []}, stream_mode=mode, stream_subgraphs=True
        )
