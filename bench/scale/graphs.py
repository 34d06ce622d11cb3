"""The graph of the simulated sessions: it sleeps, says a word now and then within a span of time, and sleeps until its end.

When that is, all sessions of a process learn from a file that the simulation writes once all of them are on.
"""

from __future__ import annotations

import asyncio
import os
import time
from functools import cache
from pathlib import Path
from typing import TypedDict

import msgspec
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph

# The variable that names the file.
MOMENTS_FILE = "SCALE_MOMENTS"
LOOK_SECS = 0.5


class Moments(msgspec.Struct, frozen=True):
    """Seconds since 1970: from when on sessions talk, until when, and from when to when they end. `every`: between two words."""

    talk: float
    talked: float
    every: float
    end: float
    over: float


class Session(TypedDict, total=False):
    """`place`: from 0 to 1, its own among those of the others, over which words and ends are spread."""

    place: float


@cache
def told() -> asyncio.Task[Moments]:
    """The moments, for all sessions of this process."""
    return asyncio.create_task(_told(Path(os.environ[MOMENTS_FILE])), name="moments")


async def _told(file: Path) -> Moments:
    while not file.exists():  # noqa: ASYNC110, ASYNC240 - another process writes it
        await asyncio.sleep(LOOK_SECS)
    return msgspec.json.decode(file.read_bytes(), type=Moments)  # noqa: ASYNC240


async def talk(state: Session) -> Session:
    write, place = get_stream_writer(), state.get("place", 0.0)
    moments = await asyncio.shield(told())
    moment = moments.talk + place * moments.every
    while moment < moments.talked:
        await _until(moment)
        write({"token": "a word or two"})
        moment += moments.every
    await _until(moments.end + place * (moments.over - moments.end))
    return {}


async def _until(moment: float) -> None:
    await asyncio.sleep(moment - time.time())


session = StateGraph(Session).add_node("talk", talk).add_edge(START, "talk").add_edge("talk", END).compile()
