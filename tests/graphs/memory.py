"""Graphs that use the store, for the tests of it."""

from __future__ import annotations

from typing import Any, NotRequired

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict


class Remembered(TypedDict):
    """`put`: an item to keep, before `query` looks for some in the same namespace."""

    namespace: list[str]
    put: NotRequired[dict[str, Any]]
    query: NotRequired[str]
    found: NotRequired[list[Any]]


async def remember(state: Remembered, runtime: Runtime[Any]) -> dict[str, Any]:
    store, namespace = runtime.store, tuple(state["namespace"])
    assert store is not None
    if item := state.get("put"):
        await store.aput(namespace, item["key"], item["value"])
    found = await store.asearch(namespace, query=state.get("query"))
    return {"found": [[item.key, item.value, item.score] for item in found]}


remembering = (
    StateGraph(Remembered)
    .add_node("remember", remember)
    .add_edge(START, "remember")
    .add_edge("remember", END)
    .compile()
)
