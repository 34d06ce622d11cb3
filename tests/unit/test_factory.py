"""What a run gets of a graph: compiled ones shared, factories called anew, each with its own checkpointer and store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypedDict, cast

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.pregel import Pregel
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import AccessContext, ServerRuntime

from treadle.errors import ConfigError, NotFound
from treadle.graphs.factory import arguments_of
from treadle.graphs.loader import Graph
from treadle.graphs.registry import Registry

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t", "word": "loom"}}
Runtime = ServerRuntime[dict[str, str]]


class State(TypedDict):
    word: str


def builder(word: str = "built") -> StateGraph[State]:
    def say(state: State) -> State:
        return {"word": word}

    return StateGraph(State).add_node(say).add_edge(START, "say")


def compiled(word: str = "built") -> Graph:
    return cast(Graph, builder(word).compile())


class Served:
    """One graph behind a registry, opened as a run opens it."""

    def __init__(self, graph: Graph | Callable[..., Any]) -> None:
        self.registry = Registry({"agent": graph}, {"agent": None})
        self.checkpointer = InMemorySaver()
        self.store = InMemoryStore()

    @asynccontextmanager
    async def open(
        self, graph_id: str = "agent", access: AccessContext = "threads.create_run"
    ) -> AsyncGenerator[Graph]:
        async with self.registry.open(
            graph_id,
            access,
            checkpointer=self.checkpointer,
            store=self.store,
            config=cast("dict[str, Any]", CONFIG),
            context={"user": "ada"},
        ) as graph:
            yield graph

    async def run(self) -> str:
        """The word that the graph says."""
        async with self.open() as graph:
            return (await graph.ainvoke({"word": ""}, CONFIG))["word"]


# Compiled graphs


async def test_a_compiled_graph_is_bound_to_the_runs_own_checkpointer_and_store() -> None:
    served = Served(compiled())

    async with served.open() as graph:
        assert (graph.checkpointer, graph.store) == (served.checkpointer, served.store)
    await served.run()

    assert await served.checkpointer.aget(CONFIG) is not None


async def test_runs_share_the_compiled_graph_but_not_each_others_checkpointer() -> None:
    served = Served(compiled())

    async with served.open() as first:
        served.checkpointer = InMemorySaver()
        async with served.open() as second:
            assert first.nodes["say"] is second.nodes["say"]
            assert first.checkpointer is not second.checkpointer


async def test_an_entrypoint_of_the_functional_api_runs() -> None:
    @entrypoint()
    async def task(given: dict[str, str]) -> dict[str, str]:
        return {"word": "functional"}

    assert await Served(cast(Graph, task)).run() == "functional"


# Factories: every form


def plain() -> StateGraph[State]:
    return builder("plain")


def plain_compiled() -> Graph:
    return compiled("plain compiled")


async def asynchronous() -> StateGraph[State]:
    return builder("async")


@contextmanager
def managed() -> Generator[StateGraph[State]]:
    yield builder("managed")


@asynccontextmanager
async def managed_async() -> AsyncGenerator[Graph]:
    yield compiled("managed async")


def with_config(config: RunnableConfig) -> StateGraph[State]:
    return builder(config.get("configurable", {})["word"])


def with_any_name(settings: dict[str, Any]) -> StateGraph[State]:
    return builder(settings["configurable"]["word"])


def with_optional_config(config: RunnableConfig | None = None) -> StateGraph[State]:
    return builder("nothing" if config is None else config.get("configurable", {})["word"])


async def with_keyword_config(*, config: RunnableConfig) -> StateGraph[State]:
    return builder(config.get("configurable", {})["word"])


def with_positional_config(config: RunnableConfig, /) -> StateGraph[State]:
    return builder(config.get("configurable", {})["word"])


def with_runtime(runtime: Runtime) -> StateGraph[State]:
    execution = runtime.execution_runtime
    return builder("no context" if execution is None else execution.context["user"])


def with_annotated_runtime(server: Runtime) -> StateGraph[State]:
    return with_runtime(server)


@asynccontextmanager
async def with_both(config: RunnableConfig, runtime: Runtime) -> AsyncGenerator[StateGraph[State]]:
    yield builder(f"{config.get('configurable', {})['word']} {runtime.access_context}")


def with_both_reversed(runtime: Runtime, config: RunnableConfig) -> StateGraph[State]:
    return builder(f"{config.get('configurable', {})['word']} {runtime.access_context}")


def with_a_default_of_its_own(word: str = "default") -> StateGraph[State]:
    return builder(word)


@pytest.mark.parametrize(
    ("factory", "word"),
    [
        (plain, "plain"),
        (plain_compiled, "plain compiled"),
        (asynchronous, "async"),
        (managed, "managed"),
        (managed_async, "managed async"),
        (with_config, "loom"),
        (with_any_name, "loom"),
        (with_optional_config, "loom"),
        (with_keyword_config, "loom"),
        (with_positional_config, "loom"),
        (with_runtime, "ada"),
        (with_annotated_runtime, "ada"),
        (with_both, "loom threads.create_run"),
        (with_both_reversed, "loom threads.create_run"),
        (with_a_default_of_its_own, "default"),
        (partial(builder, "partial"), "partial"),
    ],
)
async def test_a_factory_may_have_any_of_these_forms(factory: Callable[..., Any], word: str) -> None:
    assert await Served(factory).run() == word


# Factories: when they are called, and with what


async def test_a_factory_is_called_for_each_run() -> None:
    words = iter(["first", "second"])
    served = Served(lambda: builder(next(words)))

    assert (await served.run(), await served.run()) == ("first", "second")


@pytest.mark.parametrize("manager", [contextmanager, asynccontextmanager])
async def test_a_context_manager_ends_with_the_run(manager: Callable[..., Any]) -> None:
    happened: list[str] = []

    def make() -> Generator[Graph]:
        happened.append("enter")
        yield compiled()
        happened.append("exit")

    async def make_async() -> AsyncGenerator[Graph]:
        for graph in make():
            yield graph

    async with Served(manager(make if manager is contextmanager else make_async)).open():
        happened.append("run")

    assert happened == ["enter", "run", "exit"]


async def test_a_context_manager_ends_when_the_run_fails_and_sees_why() -> None:
    seen: list[BaseException] = []

    @asynccontextmanager
    async def make() -> AsyncGenerator[Graph]:
        try:
            yield compiled()
        except RuntimeError as error:
            seen.append(error)
            raise

    with pytest.raises(RuntimeError, match="the run failed"):
        async with Served(make).open():
            raise RuntimeError("the run failed")

    assert len(seen) == 1


async def test_a_factorys_runtime_has_the_store_and_says_what_the_graph_is_for() -> None:
    runtimes: list[Runtime] = []

    def make(runtime: Runtime) -> Graph:
        runtimes.append(runtime)
        return compiled()

    served = Served(make)
    async with served.open(access="threads.create_run"), served.open(access="threads.read"):
        execution, reading = runtimes

    assert execution.store is reading.store is served.store
    assert (execution.access_context, reading.access_context) == ("threads.create_run", "threads.read")
    assert execution.execution_runtime is not None
    assert reading.execution_runtime is None


async def test_a_factorys_graph_is_bound_like_any_other() -> None:
    served = Served(plain)

    async with served.open() as graph:
        assert isinstance(graph, Pregel)
        assert (graph.checkpointer, graph.store) == (served.checkpointer, served.store)


# What is refused


async def test_a_factory_that_makes_no_graph_is_named() -> None:
    def make() -> str:
        return "graph"

    with pytest.raises(ConfigError, match=r"factory .*make returned a str; it must return a graph"):
        await Served(make).run()


def test_a_factory_that_needs_more_than_config_and_runtime_is_named() -> None:
    def make(config: RunnableConfig, runtime: Runtime, key: str) -> Graph:
        raise NotImplementedError

    with pytest.raises(
        ConfigError, match=r"make\(config, runtime, key\) cannot be called: a factory takes nothing"
    ):
        arguments_of(make)


async def test_an_unknown_graph_is_named_with_those_that_are_served() -> None:
    with pytest.raises(NotFound, match=r"graph 'other' is not served here; langgraph.json names \['agent'\]"):
        async with Served(plain).open("other"):
            raise AssertionError
