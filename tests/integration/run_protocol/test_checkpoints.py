"""What runs leave among the checkpoints: taken away by a rollback, kept by all else."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from tests.integration.run_protocol.bench import Bench, ended, taken
from treadle.checkpoint.fenced import FencedSaver
from treadle.checkpoint.pool import ConnectionPool
from treadle.db.runs import Progress
from treadle.db.scope import EVERYWHERE
from treadle.model import CancelAction, Run


def at(bench: Bench, checkpoint_id: str | None = None, run: Run | None = None) -> RunnableConfig:
    place = {"thread_id": str(bench.thread_id), "checkpoint_ns": ""}
    config: dict[str, Any] = {
        "configurable": place if checkpoint_id is None else {**place, "checkpoint_id": checkpoint_id}
    }
    return cast(
        RunnableConfig, config if run is None else {**config, "metadata": {"run_id": str(run.run_id)}}
    )


async def execute(bench: Bench, checkpoints: ConnectionPool, run: Run, version: str) -> RunnableConfig:
    """What a run leaves: pending writes on the checkpoint that it found, then a checkpoint of its own."""
    saver = FencedSaver(checkpoints, bench.pool, run.run_id, run.attempt)
    found = await saver.aget_tuple(at(bench))
    if found is not None:
        await saver.aput_writes(found.config, [("list", [f"pending {version}"])], f"task {version}")
    checkpoint = {
        **empty_checkpoint(),
        "channel_values": {"list": [version]},
        "channel_versions": {"list": version},
    }
    parent = None if found is None else found.checkpoint["id"]
    return await saver.aput(at(bench, parent, run), cast(Any, checkpoint), {"step": 1}, {"list": version})


async def test_rollback_takes_away_all_that_the_run_did_and_nothing_else(
    bench: Bench, checkpoints: ConnectionPool
) -> None:
    await bench.create()
    first = await bench.claimed()
    await execute(bench, checkpoints, first, "1")
    reader = AsyncPostgresSaver(checkpoints)
    before = await reader.aget_tuple(at(bench))
    await bench.finish(first)
    await bench.create()
    second = await bench.claimed()
    written = await execute(bench, checkpoints, second, "2")
    assert await reader.aget_tuple(written) is not None

    await bench.cancel(second, CancelAction.ROLLBACK)
    claim = await bench.finish(second)

    assert ended(claim) == [(second.run_id, "rolled_back")]
    assert await reader.aget_tuple(at(bench)) == before
    assert await reader.aget_tuple(written) is None
    versions = await bench.pool.fetch("select version from checkpoint_blobs")
    assert [row["version"] for row in versions] == ["1"]
    assert (await bench.thread()).values == {"a": 1}


async def test_removing_a_run_keeps_the_values_that_a_running_one_has_read(
    bench: Bench, checkpoints: ConnectionPool
) -> None:
    """Its next checkpoint names them by their version, and does not write them again."""
    first, second, third = [await bench.create() for _ in range(3)]
    running = await bench.claimed()
    await execute(bench, checkpoints, running, "1")
    running = taken(await bench.finish(running))
    reader = AsyncPostgresSaver(checkpoints)
    read = await reader.aget_tuple(at(bench))
    assert read is not None

    await bench.runs.delete(EVERYWHERE, bench.thread_id, first.run_id)
    await bench.cancel(third, CancelAction.ROLLBACK)
    saver = FencedSaver(checkpoints, bench.pool, running.run_id, running.attempt)
    written = await saver.aput(at(bench, None, running), {**read.checkpoint, "id": "2"}, {"step": 2}, {})

    found = await reader.aget_tuple(written)
    assert found is not None
    assert running.run_id == second.run_id
    assert found.checkpoint["channel_values"] == {"list": ["1"]}


async def test_interrupt_keeps_the_runs_checkpoints(bench: Bench, checkpoints: ConnectionPool) -> None:
    await bench.create()
    run = await bench.claimed()
    written = await execute(bench, checkpoints, run, "1")

    await bench.cancel(run, CancelAction.INTERRUPT)
    await bench.finish(run)

    assert await AsyncPostgresSaver(checkpoints).aget_tuple(written) is not None


async def test_a_run_has_progress_once_an_attempt_of_it_has_written(
    bench: Bench, checkpoints: ConnectionPool
) -> None:
    await bench.create()
    first = await bench.claimed()
    assert await bench.runs.progress(first) == Progress(checkpointed=False, written=False)
    await execute(bench, checkpoints, first, "1")
    assert await bench.runs.progress(first) == Progress(checkpointed=True, written=True)
    await bench.finish(first)

    await bench.create()
    second = await bench.claimed()
    assert await bench.runs.progress(second) == Progress(checkpointed=False, written=False)
    saver = FencedSaver(checkpoints, bench.pool, second.run_id, second.attempt)
    found = await saver.aget_tuple(at(bench))
    assert found is not None
    await saver.aput_writes(found.config, [("list", ["half a step"])], "task")
    assert await bench.runs.progress(second) == Progress(checkpointed=False, written=True)


@pytest.mark.parametrize(
    ("task", "channel", "answered"),
    [
        (str(UUID(int=0)), "__resume__", False),
        ("task", "__resume__", True),
        ("task", "__interrupt__", True),
        ("task", "list", False),
    ],
    ids=["it waits", "it was taken", "the next question was asked", "none was given"],
)
async def test_a_runs_answer_is_taken_once_a_task_has_it(
    bench: Bench, checkpoints: ConnectionPool, task: str, channel: str, answered: bool
) -> None:
    """Also without a checkpoint: a node that asks twice makes none in between."""
    await bench.create()
    first = await bench.claimed()
    written = await execute(bench, checkpoints, first, "1")
    await bench.finish(first)
    await bench.create()
    second = await bench.claimed()
    saver = FencedSaver(checkpoints, bench.pool, second.run_id, second.attempt)

    await saver.aput_writes(written, [(channel, ["x"])], task)

    assert await bench.runs.progress(second) == Progress(checkpointed=False, written=True, answered=answered)


async def test_writes_whose_checkpoint_was_never_committed_are_no_progress_and_go_with_the_run(
    bench: Bench, checkpoints: ConnectionPool
) -> None:
    """Under `async` a step's writes may be committed before the checkpoint they belong to. If the worker dies in between,
    an attempt that went on from there would go on from what other runs have left, and do nothing."""
    await bench.create()
    run = await bench.claimed()
    saver = FencedSaver(checkpoints, bench.pool, run.run_id, run.attempt)
    place = {"thread_id": str(bench.thread_id), "checkpoint_id": "never-committed"}
    for ns in ("", "child"):
        await saver.aput_writes(
            {"configurable": {**place, "checkpoint_ns": ns}}, [("list", ["half a step"])], "task"
        )
    assert await bench.runs.progress(run) == Progress(checkpointed=False, written=False)

    await bench.end_lease(run)
    await bench.finish(await bench.claimed())
    assert await bench.pool.fetch("select from checkpoint_writes") == []


async def test_a_removed_thread_leaves_nothing(bench: Bench, checkpoints: ConnectionPool) -> None:
    await bench.create()
    run = await bench.claimed()
    await execute(bench, checkpoints, run, "1")

    assert await bench.threads.delete(EVERYWHERE, [bench.thread_id, uuid4()]) == [bench.thread_id]

    tables = (
        "treadle.thread",
        "treadle.run",
        "treadle.lease",
        "checkpoints",
        "checkpoint_blobs",
        "checkpoint_writes",
    )
    assert [await bench.pool.fetchval(f"select count(*) from {table}") for table in tables] == [0] * len(
        tables
    )
    assert await bench.threads.delete(EVERYWHERE, [bench.thread_id]) == []


async def test_an_ended_run_can_be_removed_with_its_checkpoints_and_a_living_one_not(
    bench: Bench, checkpoints: ConnectionPool
) -> None:
    await bench.create()
    run = await bench.claimed()
    await execute(bench, checkpoints, run, "1")
    assert await bench.runs.delete(EVERYWHERE, bench.thread_id, run.run_id) == "active"

    await bench.finish(run)

    assert await bench.runs.delete(EVERYWHERE, bench.thread_id, run.run_id) == "deleted"
    assert await bench.row(run) is None
    assert await AsyncPostgresSaver(checkpoints).aget_tuple(at(bench)) is None
    assert await bench.runs.delete(EVERYWHERE, bench.thread_id, run.run_id) == "not_found"
