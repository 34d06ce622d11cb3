"""Small deterministic graphs whose traffic the recorded expectations describe.

They import only langgraph and langchain-core, so that any server of the protocol can load them.
"""

from __future__ import annotations

import asyncio
import operator
import time
from typing import Annotated, Any, Literal

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict


class StepsState(TypedDict):
    """A text and the names of the nodes that ran."""

    text: str
    steps: Annotated[list[str], operator.add]


class ChatState(TypedDict):
    """A conversation."""

    messages: Annotated[list[AnyMessage], add_messages]


# --- steps: two nodes in a row, the second one also writes to the custom stream ---


def first(state: StepsState) -> dict[str, Any]:
    """Upper-case the text."""
    return {"text": state.get("text", "").upper(), "steps": ["first"]}


def second(state: StepsState) -> dict[str, Any]:
    """Write twice to the custom stream and add an exclamation mark."""
    write = get_stream_writer()
    write({"progress": 1})
    write("half way")
    return {"text": state["text"] + "!", "steps": ["second"]}


steps = (
    StateGraph(StepsState)
    .add_node("first", first)
    .add_node("second", second)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .add_edge("second", END)
    .compile()
)


# --- chat: one model call that streams three tokens ---


async def call_model(state: ChatState) -> dict[str, Any]:
    """Answer with the same sentence every time; the fake model streams it word by word."""
    reply = AIMessage("Hello there friend", id="ai-1")
    model = GenericFakeChatModel(messages=iter([reply]))
    return {"messages": [await model.ainvoke(state["messages"])]}


chat = (
    StateGraph(ChatState)
    .add_node("model", call_model)
    .add_edge(START, "model")
    .add_edge("model", END)
    .compile()
)


# --- parent: a compiled graph as a node of another ---


def inner_a(state: StepsState) -> dict[str, Any]:
    """First node of the inner graph; writes one custom event."""
    get_stream_writer()({"inner": "a"})
    return {"text": state["text"] + "a", "steps": ["inner_a"]}


def inner_b(state: StepsState) -> dict[str, Any]:
    """Second node of the inner graph."""
    return {"text": state["text"] + "b", "steps": ["inner_b"]}


inner = (
    StateGraph(StepsState)
    .add_node("inner_a", inner_a)
    .add_node("inner_b", inner_b)
    .add_edge(START, "inner_a")
    .add_edge("inner_a", "inner_b")
    .compile()
)


def outer(state: StepsState) -> dict[str, Any]:
    """Node after the subgraph."""
    return {"text": state["text"] + "o", "steps": []}


parent = (
    StateGraph(StepsState)
    .add_node("child", inner)
    .add_node("outer", outer)
    .add_edge(START, "child")
    .add_edge("child", "outer")
    .compile()
)


# --- approval: one interrupt;  pair: two at once;  nested: one inside a subgraph ---


def ask(state: StepsState) -> dict[str, Any]:
    """Stop for a human and take the answer."""
    answer: object = interrupt({"question": "go on?"})
    return {"text": f"{state.get('text', '')}:{answer}", "steps": ["ask"]}


def after(state: StepsState) -> dict[str, Any]:
    """Node that follows the human."""
    return {"steps": ["after"]}


approval = (
    StateGraph(StepsState)
    .add_node("ask", ask)
    .add_node("after", after)
    .add_edge(START, "ask")
    .add_edge("ask", "after")
    .compile()
)


def left(state: StepsState) -> dict[str, Any]:
    """One of two nodes that ask at the same time."""
    return {"steps": [f"left:{interrupt('left?')}"]}


def right(state: StepsState) -> dict[str, Any]:
    """The other one."""
    return {"steps": [f"right:{interrupt('right?')}"]}


pair = (
    StateGraph(StepsState)
    .add_node("left", left)
    .add_node("right", right)
    .add_edge(START, "left")
    .add_edge(START, "right")
    .compile()
)

asking_child = StateGraph(StepsState).add_node("ask", ask).add_edge(START, "ask").compile()

nested = (
    StateGraph(StepsState)
    .add_node("child", asking_child)
    .add_node("after", after)
    .add_edge(START, "child")
    .add_edge("child", "after")
    .compile()
)


# --- failing: a node that works, then one that raises ---


def good(state: StepsState) -> dict[str, Any]:
    """Works."""
    return {"steps": ["good"]}


def bad(state: StepsState) -> dict[str, Any]:
    """Raise."""
    raise ValueError("the node failed on purpose")


failing = (
    StateGraph(StepsState)
    .add_node("good", good)
    .add_node("bad", bad)
    .add_edge(START, "good")
    .add_edge("good", "bad")
    .compile()
)


# --- slow: three steps; the middle one sleeps, and writes a custom event before and after ---


class SlowState(TypedDict):
    """How long to sleep (seconds), and what has been done."""

    delay: float
    steps: Annotated[list[str], operator.add]


def before_sleep(state: SlowState) -> dict[str, Any]:
    """Quick first step."""
    return {"steps": ["before"]}


async def sleeping(state: SlowState) -> dict[str, Any]:
    """Sleep for as long as the input says."""
    write = get_stream_writer()
    write({"sleep": "begin"})
    await asyncio.sleep(state["delay"])
    write({"sleep": "end"})
    return {"steps": ["slept"]}


def after_sleep(state: SlowState) -> dict[str, Any]:
    """Quick last step."""
    return {"steps": ["done"]}


slow = (
    StateGraph(SlowState)
    .add_node("before", before_sleep)
    .add_node("sleep", sleeping)
    .add_node("after", after_sleep)
    .add_edge(START, "before")
    .add_edge("before", "sleep")
    .add_edge("sleep", "after")
    .compile()
)


class TickState(TypedDict):
    """How many ticks, how far apart (seconds)."""

    count: int
    gap: float
    ticks: Annotated[list[int], operator.add]


async def tick(state: TickState) -> dict[str, Any]:
    """Write numbered custom events at a steady pace."""
    write = get_stream_writer()
    for number in range(state["count"]):
        write({"tick": number})
        await asyncio.sleep(state["gap"])
    return {"ticks": [state["count"]]}


ticking = StateGraph(TickState).add_node("tick", tick).add_edge(START, "tick").compile()


# --- routing: Command goto;  fanout: Send ---


def choose(state: StepsState) -> Command[Literal["odd", "even"]]:
    """Go to the node that fits the length of the text, with an update on the way."""
    goto: Literal["odd", "even"] = "odd" if len(state["text"]) % 2 else "even"
    return Command(goto=goto, update={"steps": ["choose"]})


def odd(state: StepsState) -> dict[str, Any]:
    """Texts of odd length."""
    return {"steps": ["odd"]}


def even(state: StepsState) -> dict[str, Any]:
    """Texts of even length."""
    return {"steps": ["even"]}


routing = (
    StateGraph(StepsState)
    .add_node("choose", choose)
    .add_node("odd", odd)
    .add_node("even", even)
    .add_edge(START, "choose")
    .compile()
)


class FanState(TypedDict):
    """Numbers in, squares out."""

    numbers: list[int]
    squares: Annotated[list[int], operator.add]


def spread(state: FanState) -> list[Send]:
    """One task per number."""
    return [Send("square", {"number": number}) for number in state["numbers"]]


class NumberState(TypedDict):
    """One of the numbers."""

    number: int


def square(state: NumberState) -> dict[str, Any]:
    """Square one number."""
    number = state["number"]
    time.sleep(0.02 * number)  # results arrive in the order of the numbers
    return {"squares": [number * number]}


fanout = (
    StateGraph(FanState).add_node("square", square).add_conditional_edges(START, spread, ["square"]).compile()
)


# --- functional: the functional API, with a value kept from the last run ---


@task
def double(number: int) -> int:
    """Double a number."""
    return number * 2


@entrypoint()
async def functional(number: int, *, previous: int | None = None) -> entrypoint.final[int, int]:
    """Double the input and add what the last run on the thread saved."""
    doubled = await double(number)
    total = doubled + (previous or 0)
    return entrypoint.final(value=total, save=total)


# --- contextual: a context schema;  seen: what a node sees of its config ---


class UserContext(TypedDict, total=False):
    """Who asks, and in which language."""

    user: str
    language: str


def greet(state: StepsState, runtime: Runtime[UserContext]) -> dict[str, Any]:
    """Greet the user that the context names."""
    context = runtime.context or {}
    return {"text": f"{context.get('language', '-')}:{context.get('user', '-')}", "steps": ["greet"]}


contextual = (
    StateGraph(StepsState, context_schema=UserContext)
    .add_node("greet", greet)
    .add_edge(START, "greet")
    .compile()
)


class SeenState(TypedDict, total=False):
    """What the node saw."""

    seen_configurable: dict[str, Any]
    seen_metadata: dict[str, Any]
    seen_other: dict[str, Any]


def look(state: SeenState, config: RunnableConfig) -> SeenState:
    """Report the JSON-able part of the config, and the type names of the rest."""

    def plain(values: dict[str, Any]) -> dict[str, Any]:
        simple = (str, int, float, bool, type(None), dict, list)
        return {
            key: value if isinstance(value, simple) else f"<{type(value).__name__}>"
            for key, value in values.items()
        }

    rest = {
        key: value for key, value in config.items() if key not in ("configurable", "metadata", "callbacks")
    }
    return {
        "seen_configurable": plain(dict(config.get("configurable", {}))),
        "seen_metadata": plain(dict(config.get("metadata", {}))),
        "seen_other": plain(rest),
    }


seen = StateGraph(SeenState).add_node("look", look).add_edge(START, "look").compile()
