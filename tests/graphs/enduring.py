"""A graph of many short steps, each of which leaves a mark and an event: what a fault meets in the middle of a run."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, NotRequired, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from tests.graphs.protocol import mark


class Journey(TypedDict):
    """Where to mark, as what, how many steps to take, and how long each of them lasts (seconds)."""

    log: str
    label: str
    steps: int
    pause: float
    at: NotRequired[int]
    done: NotRequired[Annotated[list[str], operator.add]]


async def step(state: Journey) -> dict[str, Any]:
    """Mark the step's number, take the time, tell of it."""
    number = state.get("at", 0)
    mark({"log": state["log"], "label": state["label"]}, f"{number}")
    await asyncio.sleep(state["pause"])
    get_stream_writer()({"n": number})
    over = number + 1 == state["steps"]
    return {"at": 0 if over else number + 1, "done": [state["label"]] if over else []}


def following(state: Journey) -> str:
    return "step" if state.get("at") else END


enduring = (
    StateGraph(Journey)
    .add_node("step", step)
    .add_edge(START, "step")
    .add_conditional_edges("step", following)
    .compile()
)
