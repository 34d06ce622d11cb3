"""What is kept for a while, and what goes with it and what does not. Time passes by moving the rows."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from treadle.db.dead_letters import DeadRuns
from treadle.db.new_run import NewRun
from treadle.db.orphans import note_orphans
from treadle.db.pool import Pool, transaction
from treadle.db.retention import RunRecords
from treadle.db.runs import Lease, Outcome, Runs
from treadle.db.scope import EVERYWHERE
from treadle.model import RunStatus

HOUR_SECS = 3600.0
LEASE = Lease("w", 30, 1)
SUCCESS = Outcome(status="success", resting="idle", output=b"{}", values=b"{}")


class Place:
    """A database with runs that ended, and what removes them."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.runs = Runs(pool)
        self.records = RunRecords(pool)

    async def accepted(self, thread_id: UUID) -> UUID:
        run_id = uuid4()
        new = NewRun(
            run_id=run_id,
            thread_id=thread_id,
            assistant_id=uuid4(),
            graph_id="g",
            kwargs={},
            if_not_exists="create",
        )
        assert (await self.runs.create(new)).outcome == "created"
        return run_id

    async def ran(self, thread_id: UUID, hours_ago: float | None = None) -> UUID:
        """A run that has left a checkpoint, and ended, long ago if that is said."""
        run_id = await self.accepted(thread_id)
        claimed = (await self.runs.claim(thread_id, LEASE)).run
        assert claimed is not None
        await self.pool.execute(
            "insert into checkpoints (thread_id, checkpoint_id, checkpoint, metadata) values ($1, $2, '{}', $3)",
            str(thread_id),
            str(run_id),
            {"run_id": str(run_id)},
        )
        await self.runs.finish(claimed, SUCCESS, LEASE, claim_next=False)
        if hours_ago is not None:
            await self.ended(run_id, hours_ago)
        return run_id

    async def ended(self, run_id: UUID, hours_ago: float) -> None:
        await self.pool.execute(
            "update treadle.run set ended_at = clock_timestamp() - make_interval(secs => 3600 * $2) where run_id = $1",
            run_id,
            hours_ago,
        )

    async def left(self, thread_id: UUID) -> list[UUID]:
        """Runs of a thread that are there, in their order."""
        rows = await self.pool.fetch(
            "select run_id from treadle.run where thread_id = $1 order by seq", thread_id
        )
        return [row[0] for row in rows]

    async def checkpoints(self, thread_id: UUID) -> set[str]:
        rows = await self.pool.fetch(
            "select checkpoint_id from checkpoints where thread_id = $1", str(thread_id)
        )
        return {row[0] for row in rows}


@pytest.fixture
def place(pool: Pool) -> Place:
    return Place(pool)


async def test_runs_that_ended_long_ago_go_and_their_checkpoints_stay(place: Place) -> None:
    thread = uuid4()
    first, second = await place.ran(thread, 3), await place.ran(thread, 2)
    recent, newest = await place.ran(thread, 0.5), await place.ran(thread)
    assert await place.records.forget(HOUR_SECS, 10) == 2
    assert await place.left(thread) == [recent, newest]
    assert await place.checkpoints(thread) == {str(run) for run in (first, second, recent, newest)}
    assert await place.records.forget(HOUR_SECS, 10) == 0


async def test_the_newest_run_of_a_thread_stays_until_one_after_it_is_old(place: Place) -> None:
    thread, quiet = uuid4(), uuid4()
    passed, other = await place.ran(thread, 5), await place.ran(quiet, 5)
    assert await place.records.forget(HOUR_SECS, 10) == 0
    later = await place.ran(thread)
    assert await place.records.forget(HOUR_SECS, 10) == 0
    await place.ended(later, 2)
    assert await place.records.forget(HOUR_SECS, 10) == 1
    assert (await place.left(thread), await place.left(quiet)) == ([later], [other])
    assert passed != later


async def test_a_run_that_has_not_ended_stays_and_lets_older_ones_go(place: Place) -> None:
    thread = uuid4()
    await place.ran(thread, 2)
    pending = await place.accepted(thread)
    assert await place.records.forget(HOUR_SECS, 10) == 1
    assert await place.left(thread) == [pending]
    assert (await place.runs.claim(thread, LEASE)).outcome == "claimed"
    assert await place.records.forget(0, 10) == 0
    assert await place.left(thread) == [pending]


async def test_a_run_that_was_cancelled_before_those_ahead_of_it_ran_is_no_exception(place: Place) -> None:
    thread = uuid4()
    ahead, cancelled = await place.accepted(thread), await place.accepted(thread)
    await place.pool.execute("update treadle.run set status = 'interrupted' where run_id = $1", cancelled)
    await place.ended(cancelled, 4)
    assert await place.records.forget(HOUR_SECS, 10) == 0
    await place.pool.execute("update treadle.run set status = 'success' where run_id = $1", ahead)
    await place.ended(ahead, 3)
    assert await place.records.forget(HOUR_SECS, 10) == 1
    assert await place.left(thread) == [cancelled]


async def test_a_dead_letter_keeps_its_run(place: Place) -> None:
    thread = uuid4()
    dead = await place.accepted(thread)
    for _ in range(2):
        await place.runs.claim(thread, LEASE)
        await place.pool.execute("update treadle.lease set lease_until = clock_timestamp() - interval '1 s'")
    run = await place.runs.get(EVERYWHERE, thread, dead)
    assert run is not None
    assert run.status == RunStatus.ERROR
    await place.ended(dead, 9)
    await place.ran(thread, 8)
    assert await place.records.forget(HOUR_SECS, 10) == 0

    letters = DeadRuns(place.pool)
    assert await letters.forget(HOUR_SECS, 10) == 0
    await place.pool.execute("update treadle.dead_letter set created_at = created_at - interval '2 hours'")
    assert await letters.forget(HOUR_SECS, 10) == 1
    newest = await place.ran(thread, 7)
    assert await place.records.forget(HOUR_SECS, 10) == 2
    assert await place.left(thread) == [newest]


async def test_what_was_passed_over_on_a_thread_that_is_quiet_now_goes_at_the_next_look_from_the_first(
    place: Place,
) -> None:
    """For a dead letter that is gone by then, and since somebody held it."""
    thread = uuid4()
    dead, held = await place.ran(thread, 9), await place.ran(thread, 8)
    newest = await place.ran(thread, 7)
    often = RunRecords(place.pool, again_secs=0)
    await place.pool.execute(
        "insert into treadle.dead_letter (run_id, thread_id, graph_id, attempts, reason) values ($1, $2, 'g', 3, 'lost')",
        dead,
        thread,
    )
    async with transaction(place.pool) as connection:
        await connection.execute("select from treadle.run where run_id = $1 for update", held)
        assert [await each.forget(HOUR_SECS, 10) for each in (place.records, often)] == [0, 0]
    [letter] = await DeadRuns(place.pool).page(None, 10)
    await DeadRuns(place.pool).delete([letter.id])

    assert await place.records.forget(HOUR_SECS, 10) == 0
    assert await often.forget(HOUR_SECS, 10) == 2
    assert await place.left(thread) == [newest]


async def test_a_checkpointer_of_the_users_own_keeps_the_checkpoints_too(place: Place) -> None:
    thread = uuid4()
    await place.ran(thread, 2)
    newest = await place.ran(thread, 2)
    await note_orphans(place.pool, wanted=True)
    try:
        assert await place.records.forget(HOUR_SECS, 10) == 1
        assert await place.pool.fetch("select from treadle.orphan") == []
        assert await place.runs.delete(EVERYWHERE, thread, newest) == "deleted"
        assert await place.pool.fetchval("select run_id from treadle.orphan") == newest
    finally:
        await note_orphans(place.pool, wanted=False)


MANY = """
insert into treadle.thread (thread_id) select md5('t' || n)::uuid from generate_series(0, 9) n;
insert into treadle.run (run_id, thread_id, assistant_id, graph_id, status, kwargs, created_at, ended_at)
select gen_random_uuid(), md5('t' || mod(n, 10))::uuid, gen_random_uuid(), 'g', 'success', '{}',
       now() - make_interval(hours => 3, secs => n), now() - interval '2 hours'
  from generate_series(1, 1000) n order by n desc;
-- As autovacuum does a minute later. With the statistics of an empty table each look reads all of it for each run.
analyze treadle.run;
"""


async def test_a_backlog_is_worked_off_in_batches_even_by_two_at_once(place: Place) -> None:
    """All of them ended at the same moment: the place where a batch ends is one run's, and not a moment's."""
    await place.pool.execute(MANY)
    one, other = place.records, RunRecords(place.pool)

    async def all_of(records: RunRecords) -> int:
        removed = 0
        while gone := await records.forget(HOUR_SECS, 30):
            assert gone < 2 * 30 + 10
            removed += gone
        return removed

    assert sum(await asyncio.gather(all_of(one), all_of(other))) == 990
    left = await place.pool.fetch("select thread_id, count(*) as runs from treadle.run group by thread_id")
    assert [row["runs"] for row in left] == [1] * 10


async def test_dead_letters_go_in_batches(place: Place) -> None:
    await place.pool.execute(
        "insert into treadle.dead_letter (run_id, thread_id, graph_id, attempts, reason, created_at)"
        " select gen_random_uuid(), gen_random_uuid(), 'g', 3, 'lost', now() - make_interval(hours => n)"
        "  from generate_series(0, 9) n"
    )
    letters = DeadRuns(place.pool)
    assert [await letters.forget(HOUR_SECS * 4.5, 3) for _ in range(3)] == [3, 2, 0]
    assert await place.pool.fetchval("select count(*) from treadle.dead_letter") == 5
