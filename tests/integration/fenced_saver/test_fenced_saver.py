"""The fenced saver: the stock saver in all that it does, but a newer attempt, or an end, shuts it out."""

from __future__ import annotations

import asyncio
import math
import operator
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Annotated, Any, TypedDict, cast

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.types import ERROR
from langgraph.graph import START, StateGraph
from langgraph.types import Command

from tests.e2e.steps import eventually
from tests.graphs.answers import AnswersState, interview
from tests.integration.fenced_saver.writes import (
    EVERY_WRITE,
    LEASE,
    Write,
    checkpoint_with,
    claimed,
    config_of,
    end_lease,
    late,
    put,
    put_writes,
    saver_of,
    stored,
)
from treadle.checkpoint.fenced import FencedSaver
from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.checkpoint.reaching import psycopg_errors
from treadle.db.pool import Pool, PoolWait, connect_pool, transaction
from treadle.db.runs import HEARTBEAT, Outcome, Runs
from treadle.errors import Fenced, Unavailable
from treadle.model import Run

# Long enough for a statement to have come back, had nothing held it.
HELD_SECS = 0.3


class WordsState(TypedDict):
    words: Annotated[list[str], operator.add]


# It is the stock saver


async def test_it_conforms_in_full(checkpoints: ConnectionPool, pool: Pool, run: Run) -> None:
    @checkpointer_test(name="FencedSaver")
    async def fenced() -> AsyncGenerator[FencedSaver]:
        yield saver_of(checkpoints, pool, run)

    report = await validate(fenced)

    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert (report.conformance_level(), failures) == ("FULL", {})


async def test_stock_savers_read_what_it_writes(checkpoints: ConnectionPool, pool: Pool, run: Run) -> None:
    saver = saver_of(checkpoints, pool, run)
    values = {"text": "x", "number": 1, "nothing": None, "list": ["y"], "blob": b"z"}
    written = await saver.aput(
        config_of(run), checkpoint_with(**values), {"step": 1}, cast(Any, dict.fromkeys(values, "1"))
    )
    await saver.aput_writes(written, [("list", ["w"])], "task")

    found = await AsyncPostgresSaver(checkpoints).aget_tuple(written)

    assert found is not None
    assert found.checkpoint["channel_values"] == values
    assert found.metadata == {"step": 1}
    assert found.pending_writes == [("task", "list", ["w"])]


class Word(str):
    """Kin of plain text."""


class Count(int):
    """Kin of a whole number."""


class Share(float):
    """Kin of a number."""


@pytest.mark.parametrize("value", [Word("loom"), Count(3), Share(0.5), True], ids=repr)
async def test_kin_of_plain_values_is_kept_as_the_stock_saver_keeps_it(
    checkpoints: ConnectionPool, pool: Pool, run: Run, value: Any
) -> None:
    stock = AsyncPostgresSaver(checkpoints)
    savers = (saver_of(checkpoints, pool, run), stock)
    written = [
        await saver.aput(config_of(run), checkpoint_with(kin=value), {"step": 1}, {"kin": "1"})
        for saver in savers
    ]
    ours, theirs = [await stock.aget_tuple(config) for config in written]

    assert ours is not None
    assert theirs is not None
    assert ours.checkpoint["channel_values"] == theirs.checkpoint["channel_values"] == {"kin": value}


@pytest.mark.parametrize("value", ["a\0b", math.inf, -math.inf], ids=["NUL", "infinity", "-infinity"])
async def test_values_that_jsonb_cannot_hold_are_kept(
    checkpoints: ConnectionPool, pool: Pool, run: Run, value: Any
) -> None:
    saver = saver_of(checkpoints, pool, run)

    written = await saver.aput(config_of(run), checkpoint_with(odd=value), {"step": 1}, {"odd": "1"})

    found = await AsyncPostgresSaver(checkpoints).aget_tuple(written)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"odd": value}


async def test_a_value_that_is_not_a_number_is_kept(
    checkpoints: ConnectionPool, pool: Pool, run: Run
) -> None:
    saver = saver_of(checkpoints, pool, run)

    written = await saver.aput(config_of(run), checkpoint_with(odd=math.nan), {"step": 1}, {"odd": "1"})

    found = await AsyncPostgresSaver(checkpoints).aget_tuple(written)
    assert found is not None
    assert math.isnan(found.checkpoint["channel_values"]["odd"])


async def test_the_time_of_each_write_is_observed(checkpoints: ConnectionPool, pool: Pool, run: Run) -> None:
    seconds: list[float] = []
    saver = FencedSaver(checkpoints, pool, run.run_id, run.attempt, seconds.append)

    await put(saver, run)
    await put_writes(saver, run)

    assert len(seconds) == 2
    assert all(0 < value < 5 for value in seconds)


# The fence


@EVERY_WRITE
async def test_the_newest_attempt_may_write(
    checkpoints: ConnectionPool, pool: Pool, run: Run, write: Write
) -> None:
    await write(saver_of(checkpoints, pool, run), run)

    assert await stored(pool, run) > 0


@EVERY_WRITE
async def test_an_older_attempt_is_refused(
    checkpoints: ConnectionPool, pool: Pool, runs: Runs, run: Run, write: Write
) -> None:
    await end_lease(pool, run)
    newer = await claimed(runs, run.thread_id)

    with pytest.raises(Fenced, match=f"run {run.run_id} was refused: attempt 1 is not its newest"):
        await write(saver_of(checkpoints, pool, run), run)

    assert await stored(pool, run) == 0
    await write(saver_of(checkpoints, pool, newer), newer)


@EVERY_WRITE
async def test_a_run_that_has_ended_is_refused(
    checkpoints: ConnectionPool, pool: Pool, runs: Runs, run: Run, write: Write
) -> None:
    await runs.finish(run, Outcome(status="success", resting="idle"), LEASE, claim_next=False)

    with pytest.raises(Fenced):
        await write(saver_of(checkpoints, pool, run), run)

    assert await stored(pool, run) == 0


@EVERY_WRITE
async def test_a_run_that_was_handed_back_is_refused(
    checkpoints: ConnectionPool, pool: Pool, runs: Runs, run: Run, write: Write
) -> None:
    await runs.hand_back(run)

    with pytest.raises(Fenced):
        await write(saver_of(checkpoints, pool, run), run)

    assert await stored(pool, run) == 0


@EVERY_WRITE
async def test_a_run_whose_thread_was_removed_is_refused(
    checkpoints: ConnectionPool, pool: Pool, run: Run, write: Write
) -> None:
    await pool.fetch("select treadle.delete_threads($1)", [run.thread_id])

    with pytest.raises(Fenced):
        await write(saver_of(checkpoints, pool, run), run)

    assert await stored(pool, run) == 0


@EVERY_WRITE
async def test_a_write_that_meets_a_takeover_waits_for_it_and_is_refused(
    checkpoints: ConnectionPool, pool: Pool, run: Run, write: Write
) -> None:
    """Invariant: nothing of an older attempt is written after the takeover, however close they come."""
    await end_lease(pool, run)
    async with pool.acquire() as taker:
        takeover = taker.transaction()
        await takeover.start()
        await taker.fetch("select treadle.claim($1, 'other', $2, 10)", run.thread_id, timedelta(seconds=30))

        writing = asyncio.ensure_future(write(saver_of(checkpoints, pool, run), run))
        done, _ = await asyncio.wait({writing}, timeout=HELD_SECS)
        assert not done, "the write did not wait for the takeover"

        await takeover.commit()
        with pytest.raises(Fenced):
            await asyncio.wait_for(writing, 5)

    assert await stored(pool, run) == 0


@EVERY_WRITE
async def test_a_takeover_that_meets_a_write_waits_for_it_and_sees_it(
    checkpoints: ConnectionPool, pool: Pool, runs: Runs, run: Run, write: Write
) -> None:
    await end_lease(pool, run)
    async with transaction(pool) as writer:
        await write(late(checkpoints, writer, run), run)

        taking = asyncio.create_task(claimed(runs, run.thread_id))
        done, _ = await asyncio.wait({taking}, timeout=HELD_SECS)
        assert not done, "the takeover did not wait for the write"
    newer = await asyncio.wait_for(taking, 5)

    assert newer.attempt == 2
    assert await stored(pool, run) > 0


@pytest.mark.parametrize("deep", [False, True], ids=["in the graph", "in a subgraph"])
async def test_an_answer_that_was_taken_is_not_given_to_the_next_question(
    checkpoints: ConnectionPool, pool: Pool, runs: Runs, run: Run, deep: bool
) -> None:
    """The worker dies when the second question is written, and before the run has ended: the next attempt asks it again."""
    within = cast(Any, StateGraph(AnswersState)).add_node("in", interview).add_edge(START, "in").compile()

    async def asked(run: Run, given: Any) -> list[Any]:
        saver = saver_of(checkpoints, pool, run)
        graph = cast(Any, within if deep else interview).copy({"checkpointer": saver})
        told = await graph.ainvoke(given, {"configurable": {"thread_id": str(run.thread_id)}})
        return [each.value for each in told.get("__interrupt__", ())]

    assert await asked(run, {}) == ["your name?"]
    assert await asked(run, Command(resume="Ada")) == ["how old are you, Ada?"]
    await end_lease(pool, run)
    assert await asked(await claimed(runs, run.thread_id), None) == ["how old are you, Ada?"]


@pytest.mark.parametrize("fails", [False, True], ids=["cancelled", "failed"])
async def test_a_node_whose_router_did_not_come_to_its_end_runs_again(
    checkpoints: ConnectionPool, pool: Pool, runs: Runs, run: Run, fails: bool
) -> None:
    """It is not taken for done with the half of its writes that it had made by then: what comes after it would be left out."""
    routing = asyncio.Event()

    async def route(_: object) -> str:
        if not routing.is_set():
            routing.set()
            if fails:
                raise ArithmeticError
            await asyncio.Event().wait()
        return "after"

    async def go_on(run: Run) -> Any:
        graph = (
            StateGraph(WordsState)
            .add_node("routed", lambda state: {"words": ["routed"]})
            .add_node("after", lambda state: {"words": ["after"]})
            .add_edge(START, "routed")
            .add_conditional_edges("routed", route, ["after"])
            .compile(checkpointer=saver_of(checkpoints, pool, run))
        )
        config: RunnableConfig = {"configurable": {"thread_id": str(run.thread_id)}}
        given = cast(Any, {} if run.attempt == 1 else None)
        return [part async for part in graph.astream(given, config, stream_mode=["values", "custom"])][-1]

    first = asyncio.create_task(go_on(run), name="first attempt")
    await routing.wait()
    if not fails:
        first.cancel()
    with pytest.raises((asyncio.CancelledError, ArithmeticError)):
        await first
    # langgraph does not wait for the writes of a task that was cancelled.
    await eventually(lambda: pool.fetchval("select true from checkpoint_writes where channel = $1", ERROR))
    await end_lease(pool, run)
    assert await go_on(await claimed(runs, run.thread_id)) == ("values", {"words": ["routed", "after"]})


async def test_heartbeats_do_not_wait_for_writes(checkpoints: ConnectionPool, pool: Pool, run: Run) -> None:
    """A checkpoint of hundreds of megabytes must not cost its run the lease."""
    async with transaction(pool) as writer:
        await put(late(checkpoints, writer, run), run)

        extended = await pool.fetch(
            HEARTBEAT, [run.run_id], [run.attempt], timedelta(seconds=30), timeout=HELD_SECS
        )

        assert [row["run_id"] for row in extended] == [run.run_id]


# Trouble


async def test_a_lost_database_is_told_apart_from_an_error_of_the_graph(
    dsn: str, checkpoints: ConnectionPool, run: Run
) -> None:
    closed = await connect_pool(dsn, size=1, service="test")
    await closed.close()
    saver = saver_of(checkpoints, closed, run)

    with pytest.raises(Unavailable, match=f"Postgres could not be reached while run {run.run_id} was on"):
        await put(saver, run)


async def test_a_postgres_that_is_away_is_named_at_the_first_use() -> None:
    away, wait = "postgresql://nobody@127.0.0.1:1/none", PoolWait(0.2, lambda: None)
    async with checkpoint_pool(away, size=1, service="test", wait=wait) as pool:
        with pytest.raises(Unavailable, match="could not be reached for checkpoints and the store"):
            await pool.getconn()


async def test_a_connection_that_ends_in_use_is_postgres_being_away_and_is_replaced(
    checkpoints: ConnectionPool,
) -> None:
    async with checkpoints.connection() as connection:
        ended = connection.info.backend_pid

        with pytest.raises(Unavailable), psycopg_errors("asking"):
            await connection.execute("select pg_terminate_backend(%s)", [ended])

    async with checkpoints.connection() as connection:
        assert connection.info.backend_pid != ended
