"""Stopping a graph whose code, or a library under it, forgets that it was cancelled."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TypedDict, cast
from uuid import uuid4

import psycopg
import pytest
from langgraph.graph import START, StateGraph

from treadle.checkpoint.reaching import psycopg_errors
from treadle.errors import Unavailable
from treadle.model import Run
from treadle.telemetry.metrics import Metrics
from treadle_worker.active import ActiveRun, Stop
from treadle_worker.leases import LeaseKeeper


class State(TypedDict, total=False):
    done: str


async def forgets() -> None:
    """As `asyncio.wait_for` of Python 3.11 does with a cancel that comes as what it waits for is done."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return


async def test_a_run_that_forgets_its_cancel_begins_no_other_step() -> None:
    began: list[str] = []
    on = asyncio.Event()

    async def first(state: State) -> State:
        began.append("first")
        on.set()
        await forgets()
        return {"done": "first"}

    async def second(state: State) -> State:
        began.append("second")
        return {"done": "second"}

    graph = (
        StateGraph(State)
        .add_node("first", first)
        .add_node("second", second)
        .add_edge(START, "first")
        .add_edge("first", "second")
        .compile()
    )
    active = ActiveRun(cast(Run, SimpleNamespace(run_id=uuid4())))

    async def execute() -> None:
        async for _ in graph.astream({}, control=active.control):
            pass

    driving = asyncio.create_task(active.drive(asyncio.create_task(execute()), grace_secs=20))
    async with asyncio.timeout(20):
        await on.wait()
        active.stop(Stop.CANCEL)
        assert await driving
    assert began == ["first"]


async def test_an_attempt_is_stopped_whose_worker_has_a_newer_one_of_its_run() -> None:
    """It has lost its lease, and no heartbeat would say so: they go by the newer one."""
    leases = LeaseKeeper("postgresql://nobody@127.0.0.1:1/none", "nats://127.0.0.1:1", "w", 2, Metrics())
    run_id = uuid4()
    older, newer = (ActiveRun(cast(Run, SimpleNamespace(run_id=run_id, attempt=n))) for n in (1, 2))
    for active in (older, newer):
        leases.hold(active, "ack", time.monotonic())
    assert (older.stopped, newer.stopped) == (Stop.LOST, None)
    leases.release(older)
    assert leases.valid(newer)


async def test_a_statement_that_fails_after_a_forgotten_cancel_is_not_tried_again() -> None:
    async def ask() -> None:
        await forgets()
        with psycopg_errors("asking"):
            raise psycopg.errors.DiskFull("could not extend file")

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_statement_that_fails_for_want_of_room_is_postgres_being_away() -> None:
    with pytest.raises(Unavailable), psycopg_errors("asking"):
        raise psycopg.errors.DiskFull("could not extend file")
