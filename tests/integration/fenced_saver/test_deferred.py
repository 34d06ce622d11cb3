"""What a run writes may be committed a moment later, together with what it writes next, and with its outcome."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict, cast
from uuid import uuid4

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph

from tests.integration.accepting import accepted
from tests.integration.fenced_saver.writes import (
    LEASE,
    claimed,
    config_of,
    put,
    put_special_writes,
    put_writes,
    stored,
)
from treadle.checkpoint.fenced import FencedSaver
from treadle.checkpoint.pool import ConnectionPool
from treadle.db.pool import Pool
from treadle.db.runs import Outcome, Runs
from treadle.errors import Fenced
from treadle.model import Run
from treadle_worker.active import ActiveRun
from treadle_worker.attempt import Attempt

Graph = Callable[[], Any]
FIRST_WORD = "what the first one did"


class WordsState(TypedDict):
    words: Annotated[list[str], operator.add]


@pytest.fixture
async def deferred(checkpoints: ConnectionPool, pool: Pool, run: Run, statements: list[float]) -> FencedSaver:
    return FencedSaver(checkpoints, pool, run.run_id, run.attempt, statements.append, deferred=True)


@pytest.fixture
def statements() -> list[float]:
    """The seconds that each statement took which writes."""
    return []


async def test_what_comes_in_one_moment_is_one_statement(
    deferred: FencedSaver, pool: Pool, run: Run, statements: list[float]
) -> None:
    await put(deferred, run)
    await put_writes(deferred, run)
    await put(deferred, run)
    assert (await stored(pool, run), statements) == (0, [])

    await deferred.written()

    # Two checkpoints with one value between them, of the same version, and a write.
    assert (await stored(pool, run), len(statements)) == (4, 1)


async def test_what_nodes_have_done_is_committed_before_others_hear_of_the_next_one(
    deferred: FencedSaver, pool: Pool, run: Run, statements: list[float]
) -> None:
    await put(deferred, run)
    await deferred.done_is_written()
    assert (await stored(pool, run), statements) == (0, [])  # no node has done anything yet

    await put_writes(deferred, run)
    await deferred.done_is_written()
    assert (await stored(pool, run), len(statements)) == (3, 1)


async def test_what_nodes_have_done_is_committed_also_where_langgraph_has_made_a_clone(
    deferred: FencedSaver, pool: Pool, run: Run
) -> None:
    """As with LANGGRAPH_STRICT_MSGPACK: the graph has the clone, the worker asks the saver."""
    deferred.serde = JsonPlusSerializer(allowed_msgpack_modules=[("somewhere", "Thing")])
    clone = deferred.with_allowlist([("elsewhere", "Thing")])
    assert isinstance(clone, FencedSaver)
    assert clone is not deferred
    await put_writes(clone, run)

    await deferred.done_is_written()

    assert await stored(pool, run) == 1


async def test_it_reads_what_it_has_put(deferred: FencedSaver, run: Run) -> None:
    written = await put(deferred, run)

    found = await deferred.aget_tuple(config_of(run))

    assert found is not None
    assert found.config == written
    assert [each.config async for each in deferred.alist(config_of(run))] == [written]


async def test_a_question_is_never_deferred(deferred: FencedSaver, pool: Pool, run: Run) -> None:
    """It is there before anybody can be told of it, and so is what came before it."""
    await put_writes(deferred, run)
    await put_special_writes(deferred, run)

    assert await stored(pool, run) == 2


async def test_the_fence_is_told_to_whoever_waits_and_with_the_next_write(
    deferred: FencedSaver, pool: Pool, runs: Runs, run: Run
) -> None:
    await put(deferred, run)
    await runs.finish(run, Outcome(status="success", resting="idle"), LEASE, claim_next=False)

    with pytest.raises(Fenced):
        await deferred.written()
    with pytest.raises(Fenced):
        await put(deferred, run)
    assert await stored(pool, run) == 0


# What nodes tell


async def first(state: Any) -> dict[str, list[str]]:
    return {"words": [FIRST_WORD]}


async def second(state: Any) -> dict[str, list[str]]:
    get_stream_writer()("the second one has begun")
    return {"words": []}


def one_node() -> Any:
    return cast(Any, StateGraph(WordsState)).add_sequence([second]).add_edge(START, "second").compile()


def two_nodes() -> Any:
    return cast(Any, StateGraph(WordsState)).add_sequence([first, second]).add_edge(START, "first").compile()


def in_a_subgraph() -> Any:
    return cast(Any, StateGraph(WordsState)).add_node("in", two_nodes()).add_edge(START, "in").compile()


def two_tasks() -> Any:
    @entrypoint()
    async def both(given: Any) -> Any:
        await task(first)(given)
        return await task(second)(given)

    return cast(Any, both)


class Listener:
    """Takes what an attempt tells; at each event of a node's own it looks at what is committed by then."""

    def __init__(self, pool: Pool, run: Run) -> None:
        self.first_was_committed: list[bool] = []
        self._pool = pool
        self._run = run
        self._told = 0

    def write(self, event: str, data: bytes) -> None:
        self._told += event.startswith("custom")

    async def ready(self) -> None:
        if self._told > len(self.first_was_committed):
            self.first_was_committed.append(
                await self._pool.fetchval(COMMITTED, str(self._run.thread_id), FIRST_WORD.encode())
            )


COMMITTED = "select exists (select from checkpoint_writes where thread_id = $1 and position($2 in blob) > 0)"


async def listened(
    graph: Any, checkpoints: ConnectionPool, pool: Pool, runs: Runs, statements: list[float]
) -> Listener:
    """To a run of a graph."""
    thread_id = uuid4()
    await accepted(pool, thread_id, stream_mode=["custom"], subgraphs=True)
    run = await claimed(runs, thread_id)
    saver = FencedSaver(checkpoints, pool, run.run_id, run.attempt, statements.append, deferred=True)
    listener = Listener(pool, run)
    attempt = Attempt(
        ActiveRun(run),
        graph.copy({"checkpointer": saver}),
        config_of(run),
        cast(Any, listener),
        given={"words": []},
        saver=saver,
        on_first_event=lambda secs: None,
    )
    await attempt.stream()
    return listener


@pytest.mark.parametrize("graph", [two_nodes, in_a_subgraph, two_tasks])
async def test_who_hears_of_a_step_finds_what_came_before_it_committed(
    checkpoints: ConnectionPool, pool: Pool, runs: Runs, statements: list[float], graph: Graph
) -> None:
    """Invariant: who has seen a step begin never sees the one before it again, whatever crashes meanwhile."""
    listener = await listened(graph(), checkpoints, pool, runs, statements)

    assert listener.first_was_committed == [True]


async def test_what_the_first_node_tells_waits_for_nothing(
    checkpoints: ConnectionPool, pool: Pool, runs: Runs, statements: list[float]
) -> None:
    """Before it there is only the input, which the run has."""
    listener = await listened(one_node(), checkpoints, pool, runs, statements)

    assert (listener.first_was_committed, statements) == ([False], [])
