"""A graph of three steps that tell what they do, event by event, for the tests of streams that are cut off."""

from __future__ import annotations

import asyncio
import operator
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph


class CountState(TypedDict, total=False):
    """How many events a step tells, how long between two (seconds), and the file that the second step waits for."""

    count: int
    gap: float
    gate: str
    done: Annotated[list[str], operator.add]


async def tell(state: CountState, step: str) -> dict[str, Any]:
    """Numbered events of different lengths."""
    write = get_stream_writer()
    for number in range(state.get("count", 0)):
        write({"step": step, "n": number, "pad": "é" * (number % 40)})
        await asyncio.sleep(state.get("gap", 0))
    return {"done": [step]}


async def first(state: CountState) -> dict[str, Any]:
    return await tell(state, "first")


async def second(state: CountState) -> dict[str, Any]:
    """Tell, then wait until the test opens the gate."""
    told = await tell(state, "second")
    while not Path(state.get("gate", "/")).exists():  # noqa: ASYNC110, ASYNC240 - a file tells nobody of itself
        await asyncio.sleep(0.02)
    return told


async def third(state: CountState) -> dict[str, Any]:
    return await tell(state, "third")


counting = (
    StateGraph(CountState)
    .add_node("first", first)
    .add_node("second", second)
    .add_node("third", third)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .add_edge("second", "third")
    .compile()
)
