"""The graph of the machine's runs: three steps that sign what they did, the second of which may ask, or fail.

Values are lists, which langgraph keeps as blobs; each entry names the run and the step.
"""

from __future__ import annotations

import operator
from typing import Annotated, Any, Literal, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

GRAPH_ID = "thread_model"
Plan = Literal["plain", "ask", "ask twice", "fail"]

# (run, step, attempt) of each node that has begun, in order.
Begun = tuple[str, str, int]


class State(TypedDict):
    plan: list[Plan]
    log: Annotated[list[str], operator.add]


def graph(begun: list[Begun]) -> Any:
    """Build it.

    Args:
        begun: is told what begins.
    """

    def sign(step: str, config: RunnableConfig) -> str:
        ids: dict[str, Any] = config.get("configurable", {})
        begun.append((ids["run_id"], step, int(config.get("metadata", {})["run_attempt"])))
        return f"{ids['run_id']} {step}"

    async def first(state: State, config: RunnableConfig) -> dict[str, Any]:
        return {"log": [sign("first", config)]}

    async def second(state: State, config: RunnableConfig) -> dict[str, Any]:
        entry = sign("second", config)
        [plan] = state["plan"]
        if plan == "fail":
            raise ValueError("as planned")
        for question in range({"ask": 1, "ask twice": 2}.get(plan, 0)):
            interrupt(f"question {question}")
        return {"log": [entry]}

    async def third(state: State, config: RunnableConfig) -> dict[str, Any]:
        return {"log": [sign("third", config)]}

    builder: Any = StateGraph(State)
    for node in (first, second, third):
        builder.add_node(node)
    for edge in ((START, "first"), ("first", "second"), ("second", "third"), ("third", END)):
        builder.add_edge(*edge)
    return builder.compile()
