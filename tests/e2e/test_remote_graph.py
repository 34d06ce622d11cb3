"""langgraph's RemoteGraph on Treadle: called like a graph, and as a node of a graph that runs elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command, Interrupt, StateSnapshot

from tests.graphs.reference import StepsState

KINDS = ("async", "sync")


class Remote:
    """A RemoteGraph, or a graph that has one as a node, called by its async or its sync methods."""

    def __init__(self, graph: Any, kind: str) -> None:
        self._graph = graph
        self._kind = kind

    async def invoke(self, *args: Any, **kwargs: Any) -> Any:
        return await self._called("invoke", *args, **kwargs)

    async def stream(self, *args: Any, **kwargs: Any) -> list[Any]:
        if self._kind == "async":
            return [part async for part in self._graph.astream(*args, **kwargs)]
        return await asyncio.to_thread(lambda: list(self._graph.stream(*args, **kwargs)))

    async def state(self, *args: Any, **kwargs: Any) -> StateSnapshot:
        return await self._called("get_state", *args, **kwargs)

    async def update(self, *args: Any, **kwargs: Any) -> RunnableConfig:
        return await self._called("update_state", *args, **kwargs)

    async def history(self, *args: Any, **kwargs: Any) -> list[StateSnapshot]:
        if self._kind == "async":
            return [state async for state in self._graph.aget_state_history(*args, **kwargs)]
        return await asyncio.to_thread(lambda: list(self._graph.get_state_history(*args, **kwargs)))

    async def drawn(self, **kwargs: Any) -> Any:
        return await self._called("get_graph", **kwargs)

    async def _called(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if self._kind == "async":
            return await getattr(self._graph, f"a{name}")(*args, **kwargs)
        return await asyncio.to_thread(getattr(self._graph, name), *args, **kwargs)


Make = Callable[[str], Remote]


@pytest.fixture(params=KINDS)
def remote(request: pytest.FixtureRequest, api_url: str) -> Make:
    """Makes the remote graph of an id."""
    return lambda graph: Remote(RemoteGraph(graph, url=api_url), request.param)


@pytest.fixture(params=KINDS)
def around(request: pytest.FixtureRequest, api_url: str) -> Make:
    """Makes a local graph with a checkpointer, whose only node is the remote graph of an id."""

    def make(graph: str) -> Remote:
        node = RemoteGraph(graph, url=api_url, name="remote")
        local = StateGraph(StepsState).add_node("remote", node).add_edge(START, "remote")
        return Remote(cast(Any, local).compile(checkpointer=MemorySaver()), request.param)

    return make


def on_a_thread() -> RunnableConfig:
    return {"configurable": {"thread_id": str(uuid4())}}


async def test_it_is_invoked_with_a_thread_and_without(remote: Make) -> None:
    expected = {"text": "A!", "steps": ["first", "second"]}
    assert await remote("steps").invoke({"text": "a"}, on_a_thread()) == expected
    assert await remote("steps").invoke({"text": "a"}) == expected
    output = await remote("steps").invoke({"text": "a"}, on_a_thread(), version="v2")
    assert (output.value, output.interrupts) == (expected, ())


async def test_it_is_given_a_context_and_a_config(remote: Make) -> None:
    greeted = await remote("contextual").invoke({"text": ""}, context={"user": "Ada"})
    assert greeted["text"] == "-:Ada"
    config: RunnableConfig = {**on_a_thread(), "tags": ["a"], "metadata": {"mine": 1}, "recursion_limit": 7}
    config["configurable"] = {**config.get("configurable", {}), "c": 1}
    seen = await remote("seen").invoke({}, config)
    assert (seen["seen_configurable"]["c"], seen["seen_metadata"]["mine"]) == (1, 1)
    assert seen["seen_other"]["recursion_limit"] == 7


async def test_its_error_is_told(remote: Make) -> None:
    with pytest.raises(RemoteException, match="the node failed on purpose"):
        await remote("failing").invoke({"text": "a"}, on_a_thread())


async def test_it_streams_one_mode_or_several(remote: Make) -> None:
    graph = remote("steps")
    updates = [{"first": {"text": "A", "steps": ["first"]}}, {"second": {"text": "A!", "steps": ["second"]}}]
    assert await graph.stream({"text": "a"}, on_a_thread()) == updates
    assert await graph.stream({"text": "a"}, on_a_thread(), stream_mode="custom") == [
        {"progress": 1},
        "half way",
    ]
    several = await graph.stream({"text": "a"}, on_a_thread(), stream_mode=["updates", "custom", "values"])
    assert [part.event for part in several] == [
        "values", "updates", "values", "custom", "custom", "updates", "values",
    ]  # fmt: skip
    parts = await graph.stream({"text": "a"}, on_a_thread(), stream_mode=["updates", "custom"], version="v2")
    assert [part["type"] for part in parts] == ["updates", "custom", "custom", "updates"]


async def test_it_streams_subgraphs_and_messages(remote: Make) -> None:
    parts = await remote("parent").stream({"text": "x"}, on_a_thread(), subgraphs=True)
    assert [("/".join(part.partition(":")[0] for part in ns), *update) for ns, update in parts] == [
        ("child", "inner_a"), ("child", "inner_b"), ("", "child"), ("", "outer"),
    ]  # fmt: skip
    given = {"messages": [{"role": "user", "content": "hi"}]}
    tokens = await remote("chat").stream(given, on_a_thread(), stream_mode="messages")
    assert "".join(message["content"] for message, _ in tokens) == "Hello there friend"
    assert {metadata["langgraph_node"] for _, metadata in tokens} == {"model"}


async def test_its_state_is_read_and_changed(remote: Make) -> None:
    graph, config = remote("steps"), on_a_thread()
    await graph.invoke({"text": "a"}, config)
    state = await graph.state(config)
    assert (state.values["text"], state.next) == ("A!", ())
    history = await graph.history(config)
    assert [each.next for each in history] == [(), ("second",), ("first",), ("__start__",)]
    assert (await graph.state(history[1].config)).values["text"] == "A"
    assert await graph.history(config, limit=2, before=history[0].config) == history[1:3]
    assert await graph.history(config, filter={"step": 1}) == [history[1]]
    forked = await graph.update(history[1].config, {"text": "b"}, as_node="first")
    assert (await graph.state(forked)).next == ("second",)
    assert (await graph.invoke(None, config))["text"] == "b!"


async def test_the_states_of_its_subgraphs_are_read(remote: Make) -> None:
    graph, config = remote("nested"), on_a_thread()
    await graph.invoke({"text": "a"}, config)
    [task] = (await graph.state(config, subgraphs=True)).tasks
    assert isinstance(task.state, StateSnapshot)
    assert (task.state.next, task.state.values["text"]) == (("ask",), "a")
    assert (await graph.state(task.state.config)).next == ("ask",)


async def test_it_is_drawn(remote: Make) -> None:
    plain, deep = await remote("parent").drawn(), await remote("parent").drawn(xray=True)
    assert list(plain.nodes) == ["__start__", "child", "outer", "__end__"]
    assert {"child:inner_a", "child:inner_b"} < deep.nodes.keys()
    assert "inner_a" in deep.draw_mermaid()


async def test_its_questions_are_answered(remote: Make) -> None:
    graph, config = remote("approval"), on_a_thread()
    asked = await graph.invoke({"text": "a"}, config, version="v2")
    [question] = asked.interrupts
    assert question.value == {"question": "go on?"}
    assert (await graph.state(config)).interrupts == (question,)
    assert (await graph.invoke(Command(resume={question.id: "yes"}), config))["text"] == "a:yes"


async def test_it_is_stopped_before_a_node_and_sent_elsewhere(remote: Make) -> None:
    graph, config = remote("row"), on_a_thread()
    await graph.invoke({"steps": []}, config, interrupt_before=["two"])
    assert (await graph.state(config)).next == ("two",)
    await graph.invoke(None, config)
    moved = await graph.invoke(Command(goto="three", update={"steps": ["again"]}), config)
    assert moved["steps"] == ["one", "two", "three", "again", "three"]


async def test_as_a_node_it_works_like_a_subgraph(around: Make) -> None:
    assert await around("parent").invoke({"text": "x"}, on_a_thread()) == {
        "text": "xabo",
        "steps": ["inner_a", "inner_b"],
    }
    parts = await around("parent").stream(
        {"text": "x"}, on_a_thread(), stream_mode=["updates", "custom"], subgraphs=True
    )
    told = [("/".join(part.partition(":")[0] for part in ns), mode, data) for ns, mode, data in parts]
    assert [(ns, mode, next(iter(data))) for ns, mode, data in told] == [
        ("remote/child", "custom", "inner"),
        ("remote/child", "updates", "inner_a"),
        ("remote/child", "updates", "inner_b"),
        ("remote", "updates", "child"),
        ("remote", "updates", "outer"),
        ("", "updates", "remote"),
    ]


async def test_as_a_node_its_questions_are_those_of_the_graph(around: Make, remote: Make) -> None:
    """Answered by their ids: a single answer stays with the local graph, which does not pass it on."""
    graph, config = around("approval"), on_a_thread()
    asked = await graph.invoke({"text": "a"}, config)
    [question] = cast("list[Interrupt]", asked["__interrupt__"])
    assert ((await graph.state(config)).next, question.value) == (("remote",), {"question": "go on?"})
    assert (await remote("approval").state(config)).next == ("ask",)
    answered = await graph.invoke(Command(resume={question.id: "yes"}), config)
    assert (answered["text"], (await graph.state(config)).next) == ("a:yes", ())


async def test_as_a_node_its_error_is_that_of_the_graph(around: Make) -> None:
    graph, config = around("failing"), on_a_thread()
    with pytest.raises(RemoteException, match="the node failed on purpose"):
        await graph.invoke({"text": "a"}, config)
    assert (await graph.state(config)).next == ("remote",)
