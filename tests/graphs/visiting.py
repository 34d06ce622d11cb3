"""A graph that looks into another thread and leaves a word there, as one does that keeps a child's memory by user."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import StateSnapshot
from typing_extensions import TypedDict


class Visit(TypedDict, total=False):
    other: str
    """The thread id that is visited."""
    word: str
    """What is left there; none: it is only looked at."""
    found: dict[str, Any]
    left: dict[str, Any]
    ids: list[str]
    """Under which ids the other thread's checkpoints say that they are."""
    runs: list[str]
    """Of which runs they are."""


class Memory(TypedDict, total=False):
    value: str


def keep(state: Memory) -> Memory:
    return {"value": state.get("value", "")}


memory = StateGraph(Memory).add_node("keep", keep).add_edge(START, "keep").compile()


def _place(state: Visit, config: RunnableConfig) -> RunnableConfig:
    """The other thread, over the checkpointer of the run."""
    ours = config.get("configurable", {})
    return {"configurable": {**ours, "thread_id": state.get("other", ""), "checkpoint_ns": ""}}


async def visit(state: Visit, config: RunnableConfig) -> Visit:
    place = _place(state, config)
    found = await memory.aget_state(place)
    if word := state.get("word"):
        await memory.ainvoke({"value": word}, place)
    left = await memory.aget_state(place)
    history = [each async for each in memory.aget_state_history(place)]
    return _told(found, left, history)


def visit_from_a_thread(state: Visit, config: RunnableConfig) -> Visit:
    place = _place(state, config)
    found = memory.get_state(place)
    if word := state.get("word"):
        memory.invoke({"value": word}, place)
    left = memory.get_state(place)
    history = list(memory.get_state_history(place))
    return _told(found, left, history)


def _told(found: StateSnapshot, left: StateSnapshot, history: list[StateSnapshot]) -> Visit:
    configs = [each.config for each in (found, left, *history)]
    configs += [each.parent_config for each in history if each.parent_config]
    ids = {config.get("configurable", {})["thread_id"] for config in configs}
    runs = {(each.metadata or {}).get("run_id", "") for each in history}
    return {"found": dict(found.values), "left": dict(left.values), "ids": sorted(ids), "runs": sorted(runs)}


visiting = StateGraph(Visit).add_node("visit", visit).add_edge(START, "visit").compile()
visiting_from_a_thread = (
    StateGraph(Visit).add_node("visit", visit_from_a_thread).add_edge(START, "visit").compile()
)
