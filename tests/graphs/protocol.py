"""Graphs that leave marks of what they did, for the tests of the run protocol.

A mark is one line appended to the file that the input names: `<what> <label> <pid>`. Lines of one write are whole,
so the file is the order in which things happened over all processes of the machine.
"""

from __future__ import annotations

import asyncio
import operator
import os
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph


class MarkState(TypedDict, total=False):
    """Where to mark, as what, how long to take over it (seconds), and the file to wait for."""

    log: str
    label: str
    delay: float
    gate: str
    done: Annotated[list[str], operator.add]


def mark(state: MarkState, what: str) -> None:
    line = f"{what} {state.get('label', '-')} {os.getpid()}\n"
    with open(state.get("log", os.devnull), "a", encoding="utf-8") as file:
        file.write(line)


async def work(state: MarkState) -> dict[str, Any]:
    """Mark the start, take the time, mark the end."""
    mark(state, "start")
    await asyncio.sleep(state.get("delay", 0))
    mark(state, "end")
    return {"done": [state.get("label")]}


marked = StateGraph(MarkState).add_node("work", work).add_edge(START, "work").compile()


async def prepare(state: MarkState) -> dict[str, Any]:
    mark(state, "prepare")
    return {"done": ["prepare"]}


async def dwell(state: MarkState) -> dict[str, Any]:
    """The long middle in which workers are killed: lasts until the test opens the gate."""
    get_stream_writer()({"dwell": "begun"})
    mark(state, "dwell")
    while not Path(state.get("gate", "/")).exists():  # noqa: ASYNC110, ASYNC240 - a file tells nobody of itself
        await asyncio.sleep(0.02)
    return {"done": ["dwell"]}


async def conclude(state: MarkState) -> dict[str, Any]:
    mark(state, "conclude")
    return {"done": ["conclude"]}


three_steps = (
    StateGraph(MarkState)
    .add_node("prepare", prepare)
    .add_node("dwell", dwell)
    .add_node("conclude", conclude)
    .add_edge(START, "prepare")
    .add_edge("prepare", "dwell")
    .add_edge("dwell", "conclude")
    .add_edge("conclude", END)
    .compile()
)


async def block(state: MarkState) -> dict[str, Any]:
    """Hold the event loop, as a node that calls a synchronous library does."""
    mark(state, "block")
    time.sleep(state.get("delay", 0))  # noqa: ASYNC251 - that is the point
    mark(state, "unblock")
    return {"done": ["blocked"]}


blocking = StateGraph(MarkState).add_node("block", block).add_edge(START, "block").compile()


class EmitState(TypedDict, total=False):
    """How many events, how long between two bursts (seconds), and how many in a burst."""

    count: int
    gap: float
    burst: int


async def emit(state: EmitState) -> dict[str, Any]:
    """Write the numbers from 0 on to the custom stream."""
    write = get_stream_writer()
    for number in range(state.get("count", 0)):
        write({"n": number})
        if (number + 1) % state.get("burst", 1) == 0:
            await asyncio.sleep(state.get("gap", 0))
    return {}


emitting = StateGraph(EmitState).add_node("emit", emit).add_edge(START, "emit").compile()


async def die(state: MarkState) -> dict[str, Any]:
    """Take the whole worker along."""
    mark(state, "die")
    os._exit(9)


deadly = StateGraph(MarkState).add_node("die", die).add_edge(START, "die").compile()


async def stubborn_sleep(state: MarkState) -> dict[str, Any]:
    """Swallow every cancellation until the time is over."""
    mark(state, "stubborn")
    until = time.monotonic() + state.get("delay", 0)
    while (left := until - time.monotonic()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue
    return {"done": ["stubborn"]}


stubborn = StateGraph(MarkState).add_node("stubborn", stubborn_sleep).add_edge(START, "stubborn").compile()
