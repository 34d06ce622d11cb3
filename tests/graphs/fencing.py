"""A graph whose worker is frozen in the middle of it: it streams, then remembers, until the test lets it go on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime


class FrozenState(TypedDict):
    """Where to mark, the file to wait for, and under what name to remember who did it."""

    log: str
    gate: str
    label: str


def mark(state: FrozenState) -> None:
    with open(state["log"], "a", encoding="utf-8") as file:
        file.write(f"hold {state['label']} {os.getpid()}\n")


async def remember_at_last(state: FrozenState, runtime: Runtime[Any]) -> dict[str, Any]:
    mark(state)
    write = get_stream_writer()
    n = 0
    while not Path(state["gate"]).exists():  # noqa: ASYNC240 - a file tells nobody of itself
        write({"n": n})
        n += 1
        await asyncio.sleep(0.002)
    assert runtime.store is not None
    await runtime.store.aput(("frozen",), state["label"], {"pid": os.getpid()})
    return {}


frozen = StateGraph(FrozenState).add_node("remember", remember_at_last).add_edge(START, "remember").compile()
