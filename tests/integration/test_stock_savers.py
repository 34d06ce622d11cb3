"""Langgraph's own saver and Treadle's read what the other has written, and go on from there."""

from __future__ import annotations

import operator
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Annotated, Any, TypedDict, cast
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.types import TASKS
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

from tests.integration.accepting import accepted
from treadle.checkpoint.direct import DirectSaver
from treadle.checkpoint.encryption import serializer
from treadle.checkpoint.fenced import FencedSaver
from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.db.pool import Pool
from treadle.db.runs import Lease, Runs
from treadle.model import Run

Saver = BaseCheckpointSaver[Any]
Making = Callable[[], Saver]

TASKS_OF_NODE = 3


def joined(words: list[str], added: Sequence[list[str]]) -> list[str]:
    return [*words, *(word for batch in added for word in batch)]


class Words(TypedDict, total=False):
    words: Annotated[list[str], DeltaChannel(joined)]
    count: int


class Parts(TypedDict, total=False):
    done: Annotated[list[int], operator.add]
    part: int


def talking() -> StateGraph[Any]:
    """Each run adds to a channel that keeps only its changes."""

    async def talk(state: Words) -> Words:
        count = state.get("count", 0) + 1
        return {"words": [f"word {count}"], "count": count}

    graph = cast(Any, StateGraph(Words))
    return graph.add_node("talk", talk).add_edge(START, "talk").add_edge("talk", END)


def splitting() -> StateGraph[Any]:
    """Sends each part to a task of its own; they wait for an answer of the last one."""

    async def work(state: Parts) -> Parts:
        part = state.get("part", 0)
        if part == TASKS_OF_NODE:
            interrupt("go on?")
        return {"done": [part]}

    def split(_: Parts) -> list[Send]:
        return [Send("work", {"part": number + 1}) for number in range(TASKS_OF_NODE)]

    graph = cast(Any, StateGraph(Parts))

    async def begin(_: Parts) -> Parts:
        return {}

    graph = graph.add_node("begin", begin).add_node("work", work)
    return (
        graph.add_edge(START, "begin").add_conditional_edges("begin", split, ["work"]).add_edge("work", END)
    )


@pytest.fixture
async def checkpoints(dsn: str) -> AsyncGenerator[ConnectionPool]:
    async with checkpoint_pool(dsn, size=4, service="test") as pool:
        yield pool


@pytest.fixture
async def run(pool: Pool) -> Run:
    thread_id = uuid4()
    await accepted(pool, thread_id)
    run = (await Runs(pool).claim(thread_id, Lease("worker", secs=60, max_crashes=10))).run
    assert run is not None
    return run


@pytest.fixture(params=["", "a key of thirty-two bytes, or so"], ids=["plain", "encrypted"])
def key(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["ours first", "stock first"])
async def turns(
    request: pytest.FixtureRequest, checkpoints: ConnectionPool, pool: Pool, run: Run, key: str
) -> tuple[Making, Making]:
    """Makes Treadle's saver and the stock one, in the order in which they work on the thread."""

    def ours() -> Saver:
        serde = serializer(key, BaseCheckpointSaver.serde)
        return FencedSaver(checkpoints, pool, run.run_id, run.attempt, deferred=True, serde=serde)

    def stock() -> Saver:
        serde = EncryptedSerializer.from_pycryptodome_aes(key=key.encode()) if key else None
        return AsyncPostgresSaver(checkpoints, serde=serde)

    return (ours, stock) if request.param == "ours first" else (stock, ours)


def config_of(run: Run) -> RunnableConfig:
    return {"configurable": {"thread_id": str(run.thread_id)}}


async def go_on(graph: StateGraph[Any], make: Making, run: Run, given: Any) -> None:
    saver = make()
    await cast(Any, graph.compile(checkpointer=saver)).ainvoke(given, config_of(run))
    if isinstance(saver, FencedSaver):
        await saver.written()


async def seen(graph: StateGraph[Any], make: Making, run: Run) -> tuple[Any, ...]:
    """The newest state and the whole history as a saver shows them."""
    compiled: Any = graph.compile(checkpointer=make())
    newest = await compiled.aget_state(config_of(run))
    return newest, [each async for each in compiled.aget_state_history(config_of(run))]


async def test_a_channel_that_keeps_only_its_changes_goes_from_one_saver_to_the_other(
    turns: tuple[Making, Making], run: Run
) -> None:
    graph = talking()
    for turn in range(6):
        await go_on(graph, turns[turn % 2], run, {})

    first, second = [await seen(graph, make, run) for make in turns]
    assert first == second
    assert first[0].values["words"] == [f"word {number}" for number in range(1, 7)]


async def test_tasks_that_were_sent_go_on_with_the_other_saver(
    turns: tuple[Making, Making], run: Run
) -> None:
    """The sends are in the checkpoint; what two of the tasks have done is in pending writes, and not done again."""
    graph = splitting()
    await go_on(graph, turns[0], run, {"done": []})

    first, second = [await seen(graph, make, run) for make in turns]
    assert first == second
    assert [task.name for task in first[0].tasks] == ["work"] * TASKS_OF_NODE
    await go_on(graph, turns[1], run, Command(resume="yes"))

    first, second = [await seen(graph, make, run) for make in turns]
    assert first == second
    assert (first[0].values["done"], first[0].next) == ([1, 2, 3], ())


async def test_sends_of_an_older_langgraph_are_found_with_the_parent(
    checkpoints: ConnectionPool, pool: Pool, run: Run
) -> None:
    """Before version 4 of the format, a checkpoint's sends were among the pending writes of its parent."""
    stock, ours = AsyncPostgresSaver(checkpoints), DirectSaver(checkpoints, pool)
    place: RunnableConfig = {"configurable": {"thread_id": str(run.thread_id), "checkpoint_ns": ""}}
    old: Any = {"v": 3, "channel_versions": {"part": "1"}}
    parent = await stock.aput(place, cast(Any, {**empty_checkpoint(), **old}), {"step": 0}, {})
    await stock.aput_writes(parent, [(TASKS, Send("work", {"part": 1}))], "task")
    child = await stock.aput(parent, cast(Any, {**empty_checkpoint(), **old}), {"step": 1}, {})

    assert await ours.aget_tuple(child) == await stock.aget_tuple(child)
    assert await ours.aget_tuple(place) == await stock.aget_tuple(place)
    listed = [[each async for each in saver.alist(place)] for saver in (ours, stock)]
    assert listed[0] == listed[1]
    assert listed[0][0].checkpoint["channel_values"][TASKS] == [Send("work", {"part": 1})]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"limit": 2},
        {"filter": {"source": "loop"}},
        {"filter": {"step": 1}},
    ],
    ids=str,
)
async def test_both_list_the_same(
    checkpoints: ConnectionPool,
    pool: Pool,
    turns: tuple[Making, Making],
    run: Run,
    key: str,
    asked: dict[str, Any],
) -> None:
    for _ in range(2):
        await go_on(talking(), turns[0], run, {})
    serde = serializer(key, BaseCheckpointSaver.serde)
    savers = AsyncPostgresSaver(checkpoints, serde=serde), DirectSaver(checkpoints, pool, serde)
    stock, ours = [[each async for each in saver.alist(config_of(run), **asked)] for saver in savers]

    assert ours == stock
    assert ours
    before: RunnableConfig = {"configurable": {"checkpoint_id": ours[0].checkpoint["id"]}}
    stock, ours = [
        [each async for each in saver.alist(config_of(run), before=before, **asked)] for saver in savers
    ]
    assert ours == stock
