"""Agents that talk: they take messages, and one of them asks back."""

from __future__ import annotations

from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Talk(TypedDict):
    """A conversation."""

    messages: Annotated[list[AnyMessage], add_messages]


def greet(state: Talk) -> dict[str, Any]:
    """Ask for a name, and greet whoever has it."""
    name = interrupt("Who are you?")
    return {"messages": [AIMessage(f"Hello {name}", id="greeting")]}


greeting = StateGraph(Talk).add_node("greet", greet).add_edge(START, "greet").compile()


def left(state: Talk) -> dict[str, Any]:
    return {"messages": [AIMessage(f"left {interrupt('left?')}", id="left")]}


def right(state: Talk) -> dict[str, Any]:
    return {"messages": [AIMessage(f"right {interrupt('right?')}", id="right")]}


choosing = (
    StateGraph(Talk)
    .add_node("left", left)
    .add_node("right", right)
    .add_edge(START, "left")
    .add_edge(START, "right")
    .compile()
)


def echo(state: Talk) -> dict[str, Any]:
    """Say what was said, as the last message has it."""
    return {"messages": [AIMessage(f"You said: {state['messages'][-1].content}")]}


echoing = StateGraph(Talk).add_node("echo", echo).add_edge(START, "echo").compile()
