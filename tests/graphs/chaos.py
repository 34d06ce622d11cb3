"""The graph of the chaos suite: steps that write down their own beginning and end, for the model to judge by.

Marks go to a Postgres of their own, which no fault touches (its address is in CHAOS_WITNESS). Nothing is tried again
here: a mark that cannot be written fails the step, and the round.
"""

from __future__ import annotations

import asyncio
import operator
import os
import resource
import time
from typing import Annotated, Any, TypedDict, cast

import asyncpg
import psutil
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

MARK = """
insert into mark (what, run_id, attempt, label, step, pid) values ($1, $2, $3, $4, $5, $6)
"""
DEATHS = "select count(*) from mark where what = 'die' and label = $1"
# What a node that kills its worker leaves as the exit status.
EXIT_STATUS = 77
# How much more memory a worker may have while one of its nodes hoards it.
HOARD_BYTES = 256 * 1024 * 1024
HOARD_CHUNK = 8 * 1024 * 1024
HOARD_SECS = 0.3
FOREVER_SECS = 3600.0


class ChaosState(TypedDict, total=False):
    """What a run is to do (given anew by each input), how far it has come, and what all runs of the thread did."""

    label: str
    steps: int
    secs: float
    """How long each step takes."""
    events: int
    """How many events each step streams."""
    ask: int
    """The step that asks before it begins; -1: none."""
    harm: str
    """What the last step does: nothing, `fail`, `exit`, `block`, `forever`, `hoard`."""
    dose: float
    """`exit`: how often; `block`: for how long."""
    at: int
    done: Annotated[list[str], operator.add]


class Witness:
    """Writes marks, over connections that are made when the first one is."""

    def __init__(self) -> None:
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def pool(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(os.environ["CHAOS_WITNESS"], min_size=1, max_size=4)
        return self._pool

    async def mark(self, what: str, state: ChaosState, config: RunnableConfig) -> None:
        metadata = cast("dict[str, Any]", config.get("metadata"))
        who = (metadata["run_id"], metadata["run_attempt"], state.get("label"), state.get("at"), os.getpid())
        await (await self.pool()).execute(MARK, what, *who)

    async def deaths(self, label: str) -> int:
        return await (await self.pool()).fetchval(DEATHS, label)


witness = Witness()


async def step(state: ChaosState, config: RunnableConfig) -> dict[str, Any]:
    at, label = state.get("at", 0), state.get("label", "")
    if state.get("ask", -1) == at:
        interrupt({"label": label, "step": at})
    await witness.mark("start", state, config)
    if at + 1 == state.get("steps"):
        await do_harm(state, config)
    await emit(state)
    await witness.mark("end", state, config)
    return {"at": at + 1, "done": [f"{label}.{at}"]}


async def emit(state: ChaosState) -> None:
    """Take the time of a step, and tell of it in between."""
    write, events, secs = get_stream_writer(), state.get("events", 0), state.get("secs", 0.0)
    for n in range(events):
        write({"label": state.get("label"), "step": state.get("at"), "n": n})
        await asyncio.sleep(secs / events)
    if not events:
        await asyncio.sleep(secs)


async def do_harm(state: ChaosState, config: RunnableConfig) -> None:
    match state.get("harm", ""):
        case "fail":
            raise ValueError(f"{state.get('label')} fails, as it was told to")
        case "exit":
            if await witness.deaths(state.get("label", "")) < state.get("dose", 1):
                await witness.mark("die", state, config)
                os._exit(EXIT_STATUS)
        case "block":
            await witness.mark("block", state, config)
            time.sleep(state.get("dose", 1))  # noqa: ASYNC251 - that is the point
        case "forever":
            await asyncio.sleep(FOREVER_SECS)
        case "hoard":
            await witness.mark("hoard", state, config)
            await hoard()
        case _:
            pass


async def hoard() -> None:
    """Take all the memory that the process may have, hold it for a moment, and fail for want of more.

    The limit is the process's own and is lifted again: the machine lacks nothing.
    """
    limits = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + HOARD_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
    taken: list[bytearray] = []
    try:
        while True:
            taken.append(bytearray(HOARD_CHUNK))
    except MemoryError:
        await asyncio.sleep(HOARD_SECS)
        raise
    finally:
        taken.clear()
        resource.setrlimit(resource.RLIMIT_AS, limits)


def further(state: ChaosState) -> str:
    return "step" if state.get("at", 0) < state.get("steps", 0) else END


chaos = (
    StateGraph(ChaosState)
    .add_node("step", step)
    .add_edge(START, "step")
    .add_conditional_edges("step", further, ["step", END])
    .compile()
)
