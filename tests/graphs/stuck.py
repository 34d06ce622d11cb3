"""Graphs that hold what they run in and do not let go: the event loop, a thread, memory, their own cancellation.

They mark what they do in a file, as the graphs of protocol.py do.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, ClassVar, TypedDict

from langgraph.graph import START, StateGraph
from pydantic import BaseModel


class StuckState(TypedDict, total=False):
    """The file for marks, the label in them, a file to wait for before, and one that a second attempt finds."""

    log: str
    label: str
    gate: str
    once: str
    done: str


def mark(state: StuckState, what: str) -> None:
    with open(state.get("log", os.devnull), "a", encoding="utf-8") as file:
        file.write(f"{what} {state.get('label', '-')} {os.getpid()}\n")


async def opened(state: StuckState) -> None:
    mark(state, "waits")
    while not Path(state.get("gate", "/")).exists():  # noqa: ASYNC110, ASYNC240 - a file tells nobody of itself
        await asyncio.sleep(0.02)


async def block(state: StuckState) -> dict[str, Any]:
    """Block the loop for ever, unless an attempt before did so, and that is enough."""
    await opened(state)
    once = Path(state.get("once", "/nowhere"))
    if not once.exists():  # noqa: ASYNC240
        if once.parent.exists():
            once.touch()  # noqa: ASYNC240
        mark(state, "blocks")
        while True:
            time.sleep(1)  # noqa: ASYNC251 - that is the point
    return {"done": "block"}


blocks_for_ever = StateGraph(StuckState).add_node("block", block).add_edge(START, "block").compile()


def hold_thread(state: StuckState) -> dict[str, Any]:
    """Take a thread, and give it back when the gate opens."""
    mark(state, "holds")
    while not Path(state.get("gate", "/")).exists():
        time.sleep(0.02)
    return {"done": "thread"}


_inner = StateGraph(StuckState).add_node("hold_thread", hold_thread).add_edge(START, "hold_thread").compile()
holds_thread = StateGraph(StuckState).add_node("inner", _inner).add_edge(START, "inner").compile()


async def eat(state: StuckState) -> dict[str, Any]:
    return {"done": str(len(bytearray(1 << 62)))}


eats_memory = StateGraph(StuckState).add_node("eat", eat).add_edge(START, "eat").compile()


async def cancel(state: StuckState) -> dict[str, Any]:
    raise asyncio.CancelledError


cancels_itself = StateGraph(StuckState).add_node("cancel", cancel).add_edge(START, "cancel").compile()


async def ignore(state: StuckState) -> dict[str, Any]:
    """Swallow every cancellation, for ever."""
    mark(state, "ignores")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


ignores_cancel = StateGraph(StuckState).add_node("ignore", ignore).add_edge(START, "ignore").compile()


class Heavy(BaseModel):
    """Cannot be written once, when there is said to be no memory for it."""

    text: str
    scarce: ClassVar[bool] = False

    def model_dump(self, **options: Any) -> dict[str, Any]:
        if Heavy.scarce:
            Heavy.scarce = False
            raise MemoryError
        return super().model_dump(**options)


class HeavyState(TypedDict, total=False):
    """Something that takes memory."""

    heavy: Heavy


async def lift(state: HeavyState) -> HeavyState:
    return {"heavy": Heavy(text="lead")}


async def collapse(state: HeavyState) -> HeavyState:
    """Fail, and leave no memory for a moment."""
    Heavy.scarce = True
    raise MemoryError


short_of_memory = (
    StateGraph(HeavyState)
    .add_node("lift", lift)
    .add_node("collapse", collapse)
    .add_edge(START, "lift")
    .add_edge("lift", "collapse")
    .compile()
)
