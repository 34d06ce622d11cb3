"""A graph that asks two at once; one of them thinks about its answer for as long as the test likes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt


def merged(known: dict[str, Any] | None, new: dict[str, Any] | None) -> dict[str, Any]:
    """Both, the newer one on top."""
    return {**(known or {}), **(new or {})}


class PanelState(TypedDict, total=False):
    """The file that the slow one waits for, the file that it leaves when it begins to, and what both answered."""

    gate: str
    sign: str
    answers: Annotated[dict[str, Any], merged]


def quick(state: PanelState) -> dict[str, Any]:
    return {"answers": {"quick": interrupt("quick?")}}


async def slow(state: PanelState) -> dict[str, Any]:
    """Take the answer, then wait until the test opens the gate."""
    answer = interrupt("slow?")
    with open(state.get("sign", "/dev/null"), "a", encoding="utf-8") as sign:  # noqa: ASYNC230 - one short line
        sign.write(f"thinking {answer}\n")
    while not Path(state.get("gate", "/")).exists():  # noqa: ASYNC110, ASYNC240 - a file tells nobody of itself
        await asyncio.sleep(0.02)
    return {"answers": {"slow": answer}}


panel = (
    StateGraph(PanelState)
    .add_node("quick", quick)
    .add_node("slow", slow)
    .add_edge(START, "quick")
    .add_edge(START, "slow")
    .compile()
)
