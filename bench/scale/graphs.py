"""The graph of the simulated sessions: it sleeps until a moment, and says a word now and then within a span of time."""

from __future__ import annotations

import asyncio
import time
from typing import TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph


class Session(TypedDict, total=False):
    """Moments are seconds since 1970. A word is said at `first`, and every `every` seconds until `last`; the run ends at `until`."""

    first: float
    last: float
    every: float
    until: float


async def talk(state: Session) -> Session:
    write = get_stream_writer()
    moment, every = state.get("first", 0.0), state.get("every", 0.0)
    while every and moment < state.get("last", 0.0):
        await asyncio.sleep(moment - time.time())
        write({"token": "a word or two"})
        moment += every
    await asyncio.sleep(state.get("until", 0.0) - time.time())
    return {}


session = StateGraph(Session).add_node("talk", talk).add_edge(START, "talk").add_edge("talk", END).compile()
