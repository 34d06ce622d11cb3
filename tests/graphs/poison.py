"""A graph that kills the process it runs in, and how: for the tests of runs that are given up."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langgraph.graph import END, START, StateGraph
from tests.graphs.protocol import MarkState, mark

MIB = 1 << 20


class PoisonState(MarkState, total=False):
    """How to kill; and the file to wait for before the n-th time: `<fuse>.<n>`, from 1 on."""

    how: str
    fuse: str


def exhaust_memory() -> None:
    """A limit of the process, unlike one of the kernel's, is an error in Python, which kills nobody."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 256 * MIB, before[1]))
    try:
        bytearray(1024 * MIB)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


WAYS: dict[str, Callable[[], object]] = {
    "exit": lambda: os._exit(9),
    "politely": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "memory": exhaust_memory,
}


async def swallow(state: PoisonState) -> dict[str, Any]:
    mark(state, "swallow")
    return {"done": ["swallow"]}


def deaths(state: PoisonState) -> int:
    """How often it has got to the end of its life before."""
    log = Path(state.get("log", os.devnull)).read_text(encoding="utf-8")
    return log.count(f"die {state.get('label')} ")


async def die(state: PoisonState) -> dict[str, Any]:
    """Wait until it is time, and kill."""
    fuse = Path(f"{state['fuse']}.{deaths(state) + 1}") if "fuse" in state else None
    mark(state, "die")
    while fuse is not None and not fuse.exists():  # noqa: ASYNC110 - a file tells nobody of itself
        await asyncio.sleep(0.02)
    if state.get("how") == "stuck":
        await asyncio.to_thread(time.sleep, 3600)
    WAYS[state.get("how", "exit")]()
    return {"done": ["survived"]}


poison = (
    StateGraph(PoisonState)
    .add_node("swallow", swallow)
    .add_node("die", die)
    .add_edge(START, "swallow")
    .add_edge("swallow", "die")
    .add_edge("die", END)
    .compile()
)
