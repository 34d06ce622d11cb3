"""The graphs that bench/load.py drives: no model, no network, just the cost of serving."""

from __future__ import annotations

import asyncio
import json
import operator
import os
import socket
import time
from typing import Annotated, Protocol, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph


class State(TypedDict, total=False):
    """What the nodes left behind; how many events to emit, and the seconds between them."""

    items: Annotated[list[str], operator.add]
    n: int
    delay: float


class Node(Protocol):
    """A step of a graph."""

    __name__: str

    async def __call__(self, state: State) -> State: ...


async def answer(state: State) -> State:
    return {"items": ["x"]}


async def emit(state: State) -> State:
    """Emit `n` custom events, `delay` seconds apart."""
    write = get_stream_writer()
    for index in range(state.get("n", 0)):
        write({"i": index, "token": "hello world token"})
        if delay := state.get("delay", 0):
            await asyncio.sleep(delay)
    return {"items": ["done"]}


async def rest(state: State) -> State:
    await asyncio.sleep(state.get("delay", 0.0))
    return {"items": ["slept"]}


class Place(TypedDict, total=False):
    """The UDP port of this machine to report to, and as whom."""

    port: int
    label: str


async def stay(state: Place) -> Place:
    """Report where this is executed, and since when; then stay for ever."""
    mark = {"label": state.get("label"), "pid": os.getpid(), "since": time.time()}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(json.dumps(mark).encode(), ("127.0.0.1", state.get("port", 0)))
    await asyncio.Event().wait()
    return {}


def steps(*nodes: Node) -> CompiledStateGraph[State, None, State, State]:
    """A graph that goes through the nodes one after the other."""
    graph = StateGraph(State)
    previous = START
    for index, node in enumerate(nodes):
        name = f"{node.__name__}_{index}"
        graph.add_node(name, node)
        graph.add_edge(previous, name)
        previous = name
    graph.add_edge(previous, END)
    return graph.compile()


echo = steps(answer)
stream = steps(emit)
sleep = steps(rest)
chain = steps(answer, answer, answer, answer, answer)
staying = StateGraph(Place).add_node("stay", stay).add_edge(START, "stay").compile()
