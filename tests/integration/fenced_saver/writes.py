"""What runs write, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.serde.types import INTERRUPT

from treadle.checkpoint.fenced import FencedSaver
from treadle.checkpoint.pool import ConnectionPool
from treadle.db.pool import Connection, Pool
from treadle.db.runs import Lease, Runs
from treadle.model import Run

LEASE = Lease("worker", secs=30, max_crashes=10)

Write = Callable[[FencedSaver, Run], Awaitable[Any]]


async def claimed(runs: Runs, thread_id: UUID) -> Run:
    run = (await runs.claim(thread_id, LEASE)).run
    assert run is not None
    return run


async def end_lease(pool: Pool, run: Run) -> None:
    """As if the run's worker had been silent for too long."""
    ended = "update treadle.lease set lease_until = clock_timestamp() - interval '1 s' where run_id = $1"
    await pool.execute(ended, run.run_id)


def saver_of(checkpoints: ConnectionPool, pool: Pool, run: Run) -> FencedSaver:
    return FencedSaver(checkpoints, pool, run.run_id, run.attempt)


def config_of(run: Run, checkpoint_id: str | None = None) -> RunnableConfig:
    place = {"thread_id": str(run.thread_id), "checkpoint_ns": ""}
    return {"configurable": place if checkpoint_id is None else {**place, "checkpoint_id": checkpoint_id}}


def checkpoint_with(**values: Any) -> Checkpoint:
    return {**empty_checkpoint(), "channel_values": values, "channel_versions": dict.fromkeys(values, "1")}


def late(checkpoints: ConnectionPool, writer: Connection, run: Run) -> FencedSaver:
    """A saver whose writes stay uncommitted, since they go over a connection in a transaction."""
    return FencedSaver(checkpoints, writer, run.run_id, run.attempt)


# Every way in which a run writes


async def put(saver: FencedSaver, run: Run) -> RunnableConfig:
    """A checkpoint with a value of its own and one that goes to the blobs."""
    versions: dict[str, str | int | float] = {"plain": "1", "blob": "1"}
    return await saver.aput(config_of(run), checkpoint_with(plain="x", blob=["y"]), {"step": 1}, versions)


async def put_writes(saver: FencedSaver, run: Run) -> None:
    await saver.aput_writes(config_of(run, str(uuid4())), [("blob", ["y"])], "task")


async def put_special_writes(saver: FencedSaver, run: Run) -> None:
    """Errors and interrupts of a task: these replace what was there."""
    await saver.aput_writes(config_of(run, str(uuid4())), [(INTERRUPT, "y")], "task")


EVERY_WRITE = pytest.mark.parametrize("write", [put, put_writes, put_special_writes])


async def stored(pool: Pool, run: Run) -> int:
    """How many rows the thread has in all checkpoint tables."""
    tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
    count = " + ".join(f"(select count(*) from {table} where thread_id = $1)" for table in tables)
    return await pool.fetchval(f"select {count}", str(run.thread_id))
