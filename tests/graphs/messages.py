"""Graphs whose states are declared in the different ways that langgraph knows, and some that cannot be kept.

They import only langgraph, langchain-core and pydantic, so that any server of the protocol can load them.
"""

from __future__ import annotations

import hashlib
import json
import operator
import threading
from dataclasses import dataclass, field
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.channels import UntrackedValue
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from pydantic import BaseModel, Field
from typing_extensions import TypedDict


class SeenState(MessagesState, total=False):
    """A conversation, and what the node saw of it."""

    seen: list[str]


def named(messages: list[Any]) -> list[str]:
    """What kinds of messages they are, and what they say."""
    return [f"{type(each).__name__}: {getattr(each, 'content', each)}" for each in messages]


def see(state: SeenState) -> dict[str, Any]:
    """Tell what came in."""
    return {"seen": named(state["messages"]), "messages": [AIMessage("seen", id="ai-1")]}


talk = StateGraph(SeenState).add_node("see", see).add_edge(START, "see").compile()


class RawState(TypedDict, total=False):
    """Messages without a reducer: nothing coerces them."""

    messages: list[Any]
    seen: list[str]


def see_raw(state: RawState) -> dict[str, Any]:
    """Tell what came in."""
    return {"seen": named(state.get("messages", []))}


raw = StateGraph(RawState).add_node("see", see_raw).add_edge(START, "see").compile()


class CheckedState(BaseModel):
    """A conversation that pydantic checks."""

    messages: Annotated[list[AnyMessage], add_messages] = Field(default_factory=list[AnyMessage])
    number: int = 0
    seen: list[str] = Field(default_factory=list[str])


def see_checked(state: CheckedState) -> dict[str, Any]:
    """Tell what came in."""
    return {"seen": [*named(state.messages), f"number: {state.number!r}"]}


checked = StateGraph(CheckedState).add_node("see", see_checked).add_edge(START, "see").compile()


@dataclass
class HeldState:
    """A conversation in a dataclass."""

    messages: Annotated[list[AnyMessage], add_messages] = field(default_factory=list[AnyMessage])
    seen: list[str] = field(default_factory=list[str])


def see_held(state: HeldState) -> dict[str, Any]:
    """Tell what came in."""
    return {"seen": named(state.messages)}


held = StateGraph(HeldState).add_node("see", see_held).add_edge(START, "see").compile()


class ContentState(TypedDict, total=False):
    """A conversation whose content is measured: digests of the last message's content, and of what is beside it."""

    messages: Annotated[list[AnyMessage], add_messages]
    blob: Any
    digests: list[str]


def digest(value: Any) -> str:
    """SHA-256 of a value's JSON, keys in order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def measure(state: ContentState) -> dict[str, Any]:
    """Digest what came in, and write it to the custom stream."""
    messages = state.get("messages") or []
    content: Any = messages[-1].content if messages else None  # pyright: ignore[reportUnknownMemberType]
    get_stream_writer()({"content": content, "blob": state.get("blob")})
    return {"digests": [digest(content), digest(state.get("blob"))]}


measured = StateGraph(ContentState).add_node("measure", measure).add_edge(START, "measure").compile()


class OddState(TypedDict, total=False):
    """Steps, and a channel for what cannot be kept."""

    what: str
    steps: Annotated[list[str], operator.add]
    handle: Any


def plain(state: OddState) -> dict[str, Any]:
    """A step that can be kept."""
    return {"steps": ["plain"]}


def odd_value(what: str) -> Any:
    """Something that no checkpoint can hold."""
    match what:
        case "lock":
            return threading.Lock()
        case "lambda":
            return lambda: None
        case "nested":
            return {"inside": [threading.Lock()]}
        case _:
            return what


def odd(state: OddState) -> dict[str, Any]:
    """Put it into the state."""
    return {"steps": ["odd"], "handle": odd_value(state.get("what", "lock"))}


unkept = (
    StateGraph(OddState)
    .add_node("plain", plain)
    .add_node("odd", odd)
    .add_edge(START, "plain")
    .add_edge("plain", "odd")
    .compile()
)


class UntrackedState(TypedDict, total=False):
    """Steps, and a channel that no checkpoint keeps."""

    steps: Annotated[list[str], operator.add]
    handle: Annotated[Any, UntrackedValue]


def hold(state: UntrackedState) -> dict[str, Any]:
    """Put a lock into the state."""
    return {"steps": ["hold"], "handle": threading.Lock()}


def use(state: UntrackedState) -> dict[str, Any]:
    """Find it there."""
    with state["handle"]:  # pyright: ignore[reportTypedDictNotRequiredAccess]
        return {"steps": ["use"]}


untracked = (
    StateGraph(UntrackedState)
    .add_node("hold", hold)
    .add_node("use", use)
    .add_edge(START, "hold")
    .add_edge("hold", "use")
    .compile()
)


def tell_odd(state: OddState) -> dict[str, Any]:
    """Put it into the custom stream."""
    get_stream_writer()({"handle": odd_value(state.get("what", "lock"))})
    return {"steps": ["told"]}


untold = StateGraph(OddState).add_node("tell", tell_odd).add_edge(START, "tell").compile()
