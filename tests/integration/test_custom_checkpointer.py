"""A checkpointer of the user's own: guarded while a run writes, and rid of what is gone from Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import ERROR

from tests.integration.accepting import accepted
from treadle.checkpoint.guarded import GuardedSaver
from treadle.checkpoint.savers import CustomSavers
from treadle.db.orphans import note_orphans
from treadle.db.pool import Pool
from treadle.db.runs import Lease, Runs
from treadle.db.scope import EVERYWHERE
from treadle.db.threads import Threads
from treadle.errors import Fenced
from treadle.model import Run

LEASE = Lease("worker", secs=30, max_crashes=10)


class Able(InMemorySaver):
    """Can take away single runs."""

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        for of_thread in self.storage.values():
            for of_namespace in of_thread.values():
                for checkpoint_id in [*of_namespace]:
                    metadata = self.serde.loads_typed(of_namespace[checkpoint_id][1])
                    if metadata.get("run_id") in run_ids:
                        del of_namespace[checkpoint_id]


@pytest.fixture
async def inner(pool: Pool) -> AsyncGenerator[Able]:
    await note_orphans(pool, wanted=True)
    yield Able()
    await note_orphans(pool, wanted=False)


@pytest.fixture
def savers(pool: Pool, inner: Able) -> CustomSavers:
    return CustomSavers(inner, pool, Runs(pool))


async def claimed(pool: Pool, thread_id: UUID) -> Run:
    """A new run of a thread, in the hands of a worker."""
    await accepted(pool, thread_id)
    run = (await Runs(pool).claim(thread_id, LEASE)).run
    assert run is not None
    return run


def place_of(thread_id: UUID) -> RunnableConfig:
    return {"configurable": {"thread_id": str(thread_id), "checkpoint_ns": ""}}


async def put(saver: BaseCheckpointSaver[Any], run: Run) -> RunnableConfig:
    metadata = cast(Any, {"step": 1, "run_id": str(run.run_id)})
    return await saver.aput(place_of(run.thread_id), empty_checkpoint(), metadata, {})


async def put_writes(saver: BaseCheckpointSaver[Any], run: Run) -> None:
    place = {"thread_id": str(run.thread_id), "checkpoint_ns": "", "checkpoint_id": "1"}
    await saver.aput_writes({"configurable": place}, [("a", 1)], "task")


async def put_from_a_thread(saver: BaseCheckpointSaver[Any], run: Run) -> None:
    metadata = cast(Any, {"step": 1, "run_id": str(run.run_id)})
    await asyncio.to_thread(saver.put, place_of(run.thread_id), empty_checkpoint(), metadata, {})


async def kept(saver: BaseCheckpointSaver[Any], thread_id: UUID) -> list[str]:
    """The runs that a thread has checkpoints of."""
    found = [each async for each in saver.alist(place_of(thread_id))]
    return [str(each.metadata.get("run_id")) for each in found]


async def test_the_guard_changes_nothing_of_what_a_checkpointer_does() -> None:
    async def pass_all() -> None:
        return

    @checkpointer_test(name="GuardedSaver")
    async def guarded() -> AsyncGenerator[GuardedSaver]:
        yield GuardedSaver(InMemorySaver(), pass_all)

    @checkpointer_test(name="InMemorySaver")
    async def bare() -> AsyncGenerator[InMemorySaver]:
        yield InMemorySaver()

    one, other = await validate(guarded), await validate(bare)
    assert {name: result.passed for name, result in one.results.items()} == {
        name: result.passed for name, result in other.results.items()
    }


@pytest.mark.parametrize("write", [put, put_writes, put_from_a_thread])
async def test_an_older_attempt_is_refused(pool: Pool, savers: CustomSavers, write: Any) -> None:
    run = await claimed(pool, uuid4())
    saver = await savers.of_run(run)
    await write(saver, run)
    await pool.execute("update treadle.lease set lease_until = now() - interval '1 s'")
    assert (await Runs(pool).claim(run.thread_id, LEASE)).run is not None
    with pytest.raises(Fenced, match=str(run.run_id)):
        await write(saver, run)


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "in a thread"])
async def test_of_a_task_that_did_not_come_to_its_end_only_the_reason_is_kept(
    pool: Pool, savers: CustomSavers, threaded: bool
) -> None:
    run = await claimed(pool, uuid4())
    saver = await savers.of_run(run)
    written = await put(saver, run)
    partial = [("words", ["a"]), (ERROR, "it failed")]
    if threaded:
        await asyncio.to_thread(saver.put_writes, written, partial, "task")
    else:
        await saver.aput_writes(written, partial, "task")
    found = await saver.aget_tuple(written)
    assert found is not None
    assert found.pending_writes == [("task", ERROR, "it failed")]


async def test_a_run_has_progress_once_it_has_a_checkpoint(pool: Pool, savers: CustomSavers) -> None:
    run = await claimed(pool, uuid4())
    assert not (await savers.progress(run)).checkpointed
    await put(await savers.of_run(run), run)
    assert (await savers.progress(run)).checkpointed


async def test_what_a_removed_run_left_is_gone_before_the_thread_is_used(
    pool: Pool, savers: CustomSavers
) -> None:
    first = await claimed(pool, uuid4())
    await put(savers.shared, first)
    await pool.execute("update treadle.run set status = 'success' where run_id = $1", first.run_id)
    second = await claimed(pool, first.thread_id)
    await put(savers.shared, second)
    await pool.execute("select treadle.roll_back($1, $2)", first.thread_id, second.run_id)
    saver = await savers.of_thread(first.thread_id)
    assert await kept(saver, first.thread_id) == [str(first.run_id)]


async def test_a_checkpointer_that_cannot_take_a_run_away_keeps_it_beside_others(
    pool: Pool, inner: Able, caplog: pytest.LogCaptureFixture
) -> None:
    unable = InMemorySaver()
    savers = CustomSavers(unable, pool, Runs(pool))
    first = await claimed(pool, uuid4())
    await put(unable, first)
    await pool.execute("select treadle.roll_back($1, $2)", first.thread_id, first.run_id)
    assert await kept(await savers.of_thread(first.thread_id), first.thread_id) == []
    await put(unable, first)
    second = await claimed(pool, first.thread_id)
    await put(unable, second)
    await pool.execute("select treadle.roll_back($1, $2)", first.thread_id, second.run_id)
    assert len(await kept(await savers.of_thread(first.thread_id), first.thread_id)) == 2
    assert "no adelete_for_runs" in caplog.text


async def test_a_thread_that_is_made_anew_has_nothing_of_its_predecessor(
    pool: Pool, savers: CustomSavers
) -> None:
    run = await claimed(pool, uuid4())
    await put(savers.shared, run)
    await Threads(pool).delete(EVERYWHERE, [run.thread_id])
    heir = await claimed(pool, run.thread_id)
    await put(await savers.of_run(heir), heir)
    assert await kept(await savers.of_thread(run.thread_id), run.thread_id) == [str(heir.run_id)]


async def test_threads_that_nobody_comes_back_to_are_tended(pool: Pool, savers: CustomSavers) -> None:
    run = await claimed(pool, uuid4())
    await put(savers.shared, run)
    left = asyncio.Event()
    async with pool.acquire() as connection:
        await connection.execute("""
            create function tell() returns trigger language plpgsql as $$
            begin perform pg_notify('removed', ''); return null; end $$;
            create trigger tell after delete on treadle.orphan for each statement execute function tell()
        """)

        def hear(*_: Any) -> None:
            left.set()

        await connection.add_listener("removed", hear)
        await Threads(pool).delete(EVERYWHERE, [run.thread_id])
        tending = asyncio.create_task(savers.tend())
        try:
            await asyncio.wait_for(left.wait(), 10)
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)
            await connection.remove_listener("removed", hear)
            await connection.execute("drop function tell cascade")
    assert await kept(savers.shared, run.thread_id) == []


async def test_nothing_is_noted_without_a_checkpointer_of_the_users_own(pool: Pool) -> None:
    run = await claimed(pool, uuid4())
    await Threads(pool).delete(EVERYWHERE, [run.thread_id])
    assert await pool.fetchval("select count(*) from treadle.orphan") == 0
