"""A graph that says a lot, for the tests of streams and of those who do not listen to them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph


class FloodState(TypedDict, total=False):
    """How many events, of how many bytes each, and the file whose appearance lets them begin."""

    count: int
    size: int
    gate: str


async def flood(state: FloodState) -> FloodState:
    """Wait for the gate; then write as fast as the stream takes it, in turns with the other runs."""
    while not Path(state.get("gate", "/")).exists():  # noqa: ASYNC110, ASYNC240 - a file tells nobody of itself
        await asyncio.sleep(0.02)
    write, padding = get_stream_writer(), "x" * state.get("size", 0)
    for number in range(state.get("count", 0)):
        write({"n": number, "padding": padding})
        await asyncio.sleep(0)
    return {}


flooding = StateGraph(FloodState).add_node("flood", flood).add_edge(START, "flood").compile()
