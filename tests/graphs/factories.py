"""Graphs that are made per run."""

from __future__ import annotations

from collections.abc import Callable

from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.graph import START, StateGraph
from langgraph_sdk.runtime import ServerRuntime
from typing_extensions import TypedDict


class Answer(TypedDict, total=False):
    """What the node says."""

    answer: str


def choosy(config: RunnableConfig) -> StateGraph[Answer]:
    """A graph with a node per word that it is configured with; some words it does not know."""
    words: list[str] = config.get("configurable", {}).get("words", ["hello"])
    if "bogus" in words:
        raise ValueError("no node for 'bogus'")
    graph = StateGraph(Answer)
    for word in words:
        graph.add_node(word, RunnableLambda(_saying(word)))
        graph.add_edge(START, word)
    return graph


def owned(runtime: ServerRuntime[None]) -> StateGraph[Answer]:
    """A graph that is made for whoever asks for it, if it is known who that is."""
    graph = StateGraph(Answer)
    graph.add_node(
        "say", RunnableLambda(_saying("nobody" if runtime.user is None else runtime.user.identity))
    )
    return graph.add_edge(START, "say")


def private(config: RunnableConfig, runtime: ServerRuntime[None]) -> StateGraph[Answer]:
    """A graph that only those get who are known, be it to run it or to look at it."""
    if runtime.user is None:
        raise PermissionError(f"nobody gets this graph for {runtime.access_context}")
    told = config.get("configurable", {})["langgraph_auth_user"]
    assert told["identity"] == runtime.user.identity
    graph = StateGraph(Answer)
    graph.add_node(runtime.user.identity, RunnableLambda(_saying(runtime.access_context)))
    return graph.add_edge(START, runtime.user.identity)


def _saying(word: str) -> Callable[[Answer], Answer]:
    def say(state: Answer) -> Answer:
        return {"answer": word}

    return say
