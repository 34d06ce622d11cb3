"""Graphs that ask, hand over, and stop, for what interrupts, commands and forks mean.

They import only langgraph, so that any server of the protocol can load them.
"""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict


def merged(known: dict[str, Any] | None, new: dict[str, Any] | None) -> dict[str, Any]:
    """Both, the newer one on top."""
    return {**(known or {}), **(new or {})}


class AnswersState(TypedDict, total=False):
    """Whom to ask, what they said, and which nodes ran."""

    names: list[str]
    answers: Annotated[dict[str, Any], merged]
    steps: Annotated[list[str], operator.add]


class OneState(TypedDict):
    """Whom to ask."""

    name: str


# --- survey: one question for each name, all at once ---


def everyone(state: AnswersState) -> list[Send]:
    """A task for each name."""
    return [Send("ask_one", {"name": name}) for name in state.get("names", [])]


def ask_one(state: OneState) -> dict[str, Any]:
    """Ask one of them."""
    return {"answers": {state["name"]: interrupt({"ask": state["name"]})}}


def count(state: AnswersState) -> dict[str, Any]:
    """Follows when all have answered."""
    return {"steps": [f"{len(state.get('answers', {}))} answers"]}


survey = (
    StateGraph(AnswersState)
    .add_node("ask_one", ask_one)
    .add_node("count", count)
    .add_conditional_edges(START, everyone, ["ask_one"])
    .add_edge("ask_one", "count")
    .compile()
)


# --- interview: two questions in one node, one after the other ---


def ask_twice(state: AnswersState) -> dict[str, Any]:
    """The second question holds the answer to the first."""
    first = interrupt("your name?")
    return {"answers": {"name": first, "age": interrupt(f"how old are you, {first}?")}}


interview = StateGraph(AnswersState).add_node("ask_twice", ask_twice).add_edge(START, "ask_twice").compile()


# --- deep: two subgraphs of subgraphs that ask at the same time ---


def asking(name: str) -> Any:
    """A graph whose only node asks."""

    def ask(state: AnswersState) -> dict[str, Any]:
        return {"answers": {name: interrupt(f"{name}?")}, "steps": [name]}

    return StateGraph(AnswersState).add_node("ask", ask).add_edge(START, "ask").compile()


def within(name: str) -> Any:
    """A graph whose only node is a graph that asks."""
    return StateGraph(AnswersState).add_node("inside", asking(name)).add_edge(START, "inside").compile()


class DeepState(TypedDict, total=False):
    """As its subgraphs', but for what they pass on."""

    answers: Annotated[dict[str, Any], merged]


deep = (
    StateGraph(DeepState)
    .add_node("left", within("left"))
    .add_node("right", within("right"))
    .add_edge(START, "left")
    .add_edge(START, "right")
    .compile()
)


# --- handover: a subgraph that sends its parent elsewhere;  orphan: the same with no parent ---


def hand_over(state: AnswersState) -> Command[Any]:
    """Leave the subgraph for a node of its parent."""
    return Command(graph=Command.PARENT, goto="other", update={"steps": ["handed over"]})


def passed_over(state: AnswersState) -> dict[str, Any]:
    """The node that would have been next."""
    return {"steps": ["passed over"]}


def other(state: AnswersState) -> dict[str, Any]:
    """Where the parent is sent."""
    return {"steps": ["other"]}


orphan = StateGraph(AnswersState).add_node("hand_over", hand_over).add_edge(START, "hand_over").compile()

handover = (
    StateGraph(AnswersState)
    .add_node("child", orphan, destinations=("other",))
    .add_node("passed_over", passed_over)
    .add_node("other", other)
    .add_edge(START, "child")
    .add_edge("passed_over", END)
    .compile()
)


# --- commanded: nodes that only commands reach, and one that asks ---


def begin(state: AnswersState) -> dict[str, Any]:
    """Where inputs go."""
    return {"steps": ["begin"]}


def question(state: AnswersState) -> dict[str, Any]:
    """Ask."""
    return {"answers": {"question": interrupt("well?")}, "steps": ["question"]}


class NamedState(TypedDict, total=False):
    """What a node is sent, if it is sent anything."""

    name: str


def named(state: NamedState) -> dict[str, Any]:
    """Say what it was given."""
    return {"steps": [f"named {state.get('name', '-')}"]}


commanded = (
    StateGraph(AnswersState)
    .add_node("begin", begin)
    .add_node("question", question)
    .add_node("other", other)
    .add_node("named", named)
    .add_edge(START, "begin")
    .add_edge("begin", END)
    .compile()
)


# --- guarded: stops before and after nodes, as it was compiled ---


def one(state: AnswersState) -> dict[str, Any]:
    """First of three."""
    return {"steps": ["one"]}


def two(state: AnswersState) -> dict[str, Any]:
    """Second of three."""
    return {"steps": ["two"]}


def three(state: AnswersState) -> dict[str, Any]:
    """Third of three."""
    return {"steps": ["three"]}


_row = (
    StateGraph(AnswersState)
    .add_node("one", one)
    .add_node("two", two)
    .add_node("three", three)
    .add_edge(START, "one")
    .add_edge("one", "two")
    .add_edge("two", "three")
)

row = _row.compile()
guarded = _row.compile(interrupt_before=["two"], interrupt_after=["two"])


# --- overtaking: two questions at once, of which the second one is asked first ---


class OvertakingState(TypedDict, total=False):
    """What both answered."""

    answers: Annotated[dict[str, Any], merged]


_asked: dict[str, asyncio.Event] = {}


def _second_has_asked(config: RunnableConfig) -> asyncio.Event:
    return _asked.setdefault(config.get("configurable", {})["thread_id"], asyncio.Event())


async def first(state: OvertakingState, config: RunnableConfig) -> OvertakingState:
    """Ask once the other one has."""
    await _second_has_asked(config).wait()
    return {"answers": {"first": interrupt("first?")}}


async def second(state: OvertakingState, config: RunnableConfig) -> OvertakingState:
    """Ask at once."""
    _second_has_asked(config).set()
    return {"answers": {"second": interrupt("second?")}}


overtaking = (
    StateGraph(OvertakingState)
    .add_node("first", first)
    .add_node("second", second)
    .add_edge(START, "first")
    .add_edge(START, "second")
    .compile()
)
