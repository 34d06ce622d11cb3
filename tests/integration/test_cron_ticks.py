"""Ticks of crons in Postgres: each is made once, on whatever clock, and one cron's trouble is not another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.ticking import (
    Clock,
    Ticking,
    new_assistant,
    new_cron,
    run_through,
    ticks_of,
    times_of,
)
from treadle.db.crons import Crons, lock_cron
from treadle.db.pool import Pool, connect_pool, transaction
from treadle.db.scope import EVERYWHERE
from treadle.db.threads import lock_at_rest
from treadle.db.ticks import DUE, FORGET, MOST_BYTES, Ticks
from treadle.model import Cron, OnMissed
from treadle.operations.ids import new_id

MADE = "2026-11-21T10:00:30+00:00"
NEW_THREAD = "insert into treadle.thread (thread_id) values ($1)"
# 400 crons that are due at the same moment, half of them on a few threads.
MANY = """
insert into treadle.cron (cron_id, assistant_id, thread_id, schedule, on_run_completed, payload, next_run_date)
select gen_random_uuid(), $1::uuid, t.thread_id, '* * * * *', case when t.thread_id is null then 'delete' end,
       json_build_object('assistant_id', $1::uuid), $2
  from generate_series(1, 400) g (n)
  left join (select thread_id, row_number() over () as n from treadle.thread) t on t.n = g.n % 40
"""
DELETE_THREADS = "select count(*) from treadle.delete_threads($1)"


async def test_a_tick_makes_a_run_with_its_crons_id(pool: Pool) -> None:
    cron = await new_cron(pool, "* * * * *", MADE, payload={"input": {"a": 1}, "context": {"b": 2}})
    ticking = Ticking(pool, Clock("2026-11-21T10:01:00+00:00"))
    assert await ticking.duty.round() == 1
    [tick] = await ticks_of(pool, cron)
    assert tick.scheduled_for == datetime(2026, 11, 21, 10, 1, tzinfo=UTC)
    run = await pool.fetchrow("select * from treadle.run where run_id = $1", tick.run_id)
    assert run is not None
    assert (run["thread_id"], run["status"]) == (tick.thread_id, "pending")
    assert run["kwargs"]["input"] == {"a": 1}
    assert run["kwargs"]["context"] == {"b": 2}
    assert run["kwargs"]["config"]["configurable"] == {"b": 2, "cron_id": str(cron.cron_id)}
    assert await ticking.duty.round() == 0
    assert ticking.count("made") == 1


@pytest.fixture
async def other_pool(dsn: str) -> AsyncGenerator[Pool]:
    pool = await connect_pool(dsn, size=4, service="other")
    yield pool
    await pool.close()


async def test_two_that_both_believe_they_lead_make_each_tick_once(pool: Pool, other_pool: Pool) -> None:
    for _ in range(20):
        await pool.execute(NEW_THREAD, new_id())
    start = datetime(2026, 11, 21, 10, 1, tzinfo=UTC)
    await pool.execute(MANY, await new_assistant(pool), start)
    clock = Clock(start)
    both = [Ticking(each, clock, batch=50) for each in (pool, other_pool)]
    for minute in range(4):
        clock.set(start + timedelta(minutes=minute, seconds=1))
        made = await asyncio.gather(*(each.duty.round() for each in both))
        # Each may have found the last crons in the hands of the other, and left them to the next look.
        assert sum(made) + await both[0].duty.round() == 400
    assert sum(each.count("made") for each in both) == 1600
    assert await pool.fetchval("select count(*) from treadle.run") == 1600
    assert await pool.fetchval("select count(distinct run_id) from treadle.tick") == 1600
    assert all(each.count("refused") == 0 for each in both)


async def test_threads_are_removed_while_their_crons_tick(pool: Pool, other_pool: Pool) -> None:
    """The removal waits for ticks, and ticks do not wait for it: never in a circle."""
    threads = [new_id() for _ in range(20)]
    for thread in threads:
        await pool.execute(NEW_THREAD, thread)
    start = datetime(2026, 11, 21, 10, 1, tzinfo=UTC)
    await pool.execute(MANY, await new_assistant(pool), start)
    ticking = Ticking(pool, Clock(start))
    await asyncio.gather(ticking.duty.round(), other_pool.fetchval(DELETE_THREADS, threads))
    await ticking.duty.round()  # a batch of which nothing is left ends a round
    assert await pool.fetchval("select count(*) from treadle.cron") == 200
    left = await pool.fetch("select next_run_date from treadle.cron")
    assert {row["next_run_date"] for row in left} == {start + timedelta(minutes=1)}


async def test_a_cron_that_is_being_changed_is_passed_over(pool: Pool) -> None:
    changed, other = [await new_cron(pool, "* * * * *", MADE) for _ in range(2)]
    ticking = Ticking(pool, Clock("2026-11-21T10:01:00+00:00"))
    async with transaction(pool) as connection:
        await lock_cron(connection, EVERYWHERE, changed.cron_id)
        async with asyncio.timeout(10):
            assert await ticking.duty.round() == 1
    assert (await times_of(pool, changed), await times_of(pool, other)) == ([], ["21T10:01"])
    assert await ticking.duty.round() == 1
    assert await times_of(pool, changed) == ["21T10:01"]


async def test_a_cron_whose_thread_is_locked_stops_no_other(pool: Pool) -> None:
    """A state that is being written, or a removal, may hold a thread for as long as a statement may take."""
    locked, free = new_id(), new_id()
    crons: list[Cron] = []
    for thread in (locked, free):
        await pool.execute(NEW_THREAD, thread)
        crons.append(await new_cron(pool, "* * * * *", MADE, thread_id=thread))
    crons.append(await new_cron(pool, "* * * * *", MADE))
    ticking = Ticking(pool, Clock("2026-11-21T10:01:00+00:00"))
    async with transaction(pool) as connection:
        assert await lock_at_rest(connection, EVERYWHERE, locked)
        async with asyncio.timeout(10):
            assert await ticking.duty.round() == 2
    assert [await times_of(pool, cron) for cron in crons] == [[], ["21T10:01"], ["21T10:01"]]
    assert await ticking.duty.round() == 1
    assert await times_of(pool, crons[0]) == ["21T10:01"]


async def test_a_change_wins_over_a_tick_that_was_planned_before_it(pool: Pool) -> None:
    cron = await new_cron(pool, "* * * * *", MADE)
    clock = Clock("2026-11-21T10:01:00+00:00")
    ticks = Ticks(pool)
    [seen] = await ticks.due(clock.now, 10)
    await pool.execute("update treadle.cron set updated_at = clock_timestamp()")
    ticking = Ticking(pool, clock)
    assert seen.cron_id == cron.cron_id
    [made] = await ticks.make([await ticking.duty.planned(seen, clock.now)])
    assert made.outcome == "moved"
    assert await ticks_of(pool, cron) == []
    assert await ticking.duty.round() == 1


async def test_what_is_off_or_over_does_not_tick(pool: Pool) -> None:
    off = await new_cron(pool, "* * * * *", MADE, enabled=False)
    ends = await new_cron(pool, "* * * * *", MADE, end_time="2026-11-21T10:02:00+00:00")
    before = await new_cron(pool, "* * * * *", MADE, end_time="2026-11-21T10:01:59+00:00")
    await run_through(Ticking(pool, clock := Clock(MADE)), clock, minutes=5)
    assert await times_of(pool, off) == []
    assert await times_of(pool, ends) == ["21T10:01", "21T10:02"]
    assert await times_of(pool, before) == ["21T10:01"]
    over = await Crons(pool).get(EVERYWHERE, ends.cron_id)
    assert over is not None
    assert over.next_run_date is None


async def test_what_is_late_by_no_more_than_the_grace_is_made_tick_by_tick(pool: Pool) -> None:
    cron = await new_cron(pool, "* * * * * *", "2026-11-21T10:00:00+00:00")
    ticking = Ticking(pool, Clock("2026-11-21T10:01:01+00:00"))
    assert await ticking.duty.round() == 61
    assert [each.scheduled_for.second for each in await ticks_of(pool, cron)] == [*range(1, 60), 0, 1]
    assert ticking.count("skipped") == 0


@pytest.mark.parametrize(
    ("on_missed", "first", "error"),
    [("once", "21T12:59:29", False), ("skip", "21T12:59:29", True)],
)
async def test_what_was_missed_ticks_once_or_is_skipped(
    pool: Pool, on_missed: OnMissed, first: str, error: bool
) -> None:
    """Three hours of seconds: the newest of those that are later than the grace; then tick by tick."""
    cron = await new_cron(pool, "* * * * * *", "2026-11-21T10:00:00+00:00", on_missed=on_missed)
    ticking = Ticking(pool, Clock("2026-11-21T13:00:30+00:00"))
    assert await ticking.duty.round() == 62
    [missed, *others] = await ticks_of(pool, cron)
    assert (await times_of(pool, cron))[:2] == [first, "21T12:59:30"]
    assert (missed.run_id is None, "on_missed" in (missed.error or "")) == (error, error)
    assert all(each.run_id is not None for each in others)
    assert ticking.count("skipped") == error
    assert ticking.metrics.registry.get_sample_value("treadle_crons_missed_total") == 1


@pytest.mark.parametrize(("on_missed", "runs"), [("once", 1), ("skip", 0)])
async def test_a_cron_that_ended_while_everything_was_down(
    pool: Pool, on_missed: OnMissed, runs: int
) -> None:
    cron = await new_cron(pool, "0 12 * * *", MADE, on_missed=on_missed, end_time="2026-11-25T12:00:00+00:00")
    ticking = Ticking(pool, Clock("2027-02-01T00:00:00+00:00"))
    assert await ticking.duty.round() == 1
    assert await times_of(pool, cron) == ["25T12:00"]
    assert await pool.fetchval("select count(*) from treadle.run") == runs
    assert await ticking.duty.round() == 0


async def test_a_cron_in_trouble_goes_on_and_stops_no_other(pool: Pool) -> None:
    thread = new_id()
    await pool.execute(NEW_THREAD, thread)
    reject = {"multitask_strategy": "reject"}
    busy = await new_cron(pool, "* * * * *", MADE, thread_id=thread, payload=reject)
    unserved = await new_cron(pool, "* * * * *", MADE, graph="gone")
    unread = await new_cron(pool, "* * * * *", MADE, payload={"stream_mode": 7})
    nul = await new_cron(pool, "* * * * *", MADE, payload={"metadata": {"a": "\0"}})
    healthy = await new_cron(pool, "* * * * *", MADE)
    ticking = Ticking(pool, clock := Clock(MADE))
    await run_through(ticking, clock, minutes=2)
    refused = [await ticks_of(pool, cron) for cron in (unserved, unread)]
    assert [[tick.run_id for tick in each] for each in refused] == [[None, None]] * 2
    assert "'gone'" in (refused[0][0].error or "")
    assert "stream_mode" in (refused[1][0].error or "")
    first, second = await ticks_of(pool, busy)
    assert (first.error, second.run_id) == (None, None)
    assert "busy" in (second.error or "")
    for cron in (nul, healthy):
        assert [tick.error for tick in await ticks_of(pool, cron)] == [None, None]
    assert (ticking.count("refused"), ticking.count("made")) == (5, 5)


async def test_a_tick_that_would_answer_a_second_time_says_so(pool: Pool) -> None:
    thread = new_id()
    await pool.execute(NEW_THREAD, thread)
    answer = {"input": None, "command": {"resume": "yes"}, "multitask_strategy": "enqueue"}
    cron = await new_cron(pool, "* * * * *", MADE, thread_id=thread, payload=answer)
    await run_through(Ticking(pool, clock := Clock(MADE)), clock, minutes=2)
    first, second = await ticks_of(pool, cron)
    assert (first.error, second.run_id) == (None, None)
    assert "answered by another run" in (second.error or "")


async def test_a_schedule_that_cannot_be_read_any_more_stops_its_cron(pool: Pool) -> None:
    cron, healthy = [await new_cron(pool, "* * * * *", MADE) for _ in range(2)]
    await pool.execute("update treadle.cron set timezone = 'Gone/City' where cron_id = $1", cron.cron_id)
    await run_through(Ticking(pool, clock := Clock(MADE)), clock, minutes=2)
    [tick] = await ticks_of(pool, cron)
    assert "'Gone/City'" in (tick.error or "")
    assert len(await ticks_of(pool, healthy)) == 2


async def test_an_assistant_that_was_changed_is_read_again(pool: Pool) -> None:
    cron = await new_cron(pool, "* * * * *", MADE)
    ticking = Ticking(pool, clock := Clock(MADE))
    await run_through(ticking, clock, minutes=1)
    await pool.execute(
        "update treadle.assistant set config = $1, revision = gen_random_uuid()", {"tags": ["new"]}
    )
    await run_through(ticking, clock, minutes=1)
    _, tick = await ticks_of(pool, cron)
    run = await pool.fetchval("select kwargs from treadle.run where run_id = $1", tick.run_id)
    assert run["config"]["tags"] == ["new"]
    assert ticking.count("refused") == 0


async def test_postgres_being_away_moves_nothing(pool: Pool, dsn: str) -> None:
    cron = await new_cron(pool, "* * * * *", MADE)
    away = await connect_pool(dsn, size=1, service="away")
    ticking = Ticking(away, Clock("2026-11-21T10:01:00+00:00"))
    await away.close()
    with pytest.raises(Exception, match="pool is clos"):
        await ticking.duty.round()
    assert await Crons(pool).get(EVERYWHERE, cron.cron_id) == cron


async def test_ticks_are_forgotten_in_batches(pool: Pool) -> None:
    cron = await new_cron(pool, "* * * * * *", MADE)
    await Ticking(pool, Clock("2026-11-21T10:00:45+00:00")).duty.round()
    await pool.execute(
        "update treadle.tick set made_at = made_at - interval '1 hour' where scheduled_for < $1",
        datetime(2026, 11, 21, 10, 0, 41, tzinfo=UTC),
    )
    ticks = Ticks(pool)
    assert [await ticks.forget(1800, 6) for _ in range(3)] == [6, 4, 0]
    assert len(await ticks_of(pool, cron)) == 5


async def test_what_is_due_is_found_by_an_index(pool: Pool) -> None:
    await pool.execute(MANY, await new_assistant(pool), datetime(2026, 11, 21, tzinfo=UTC))
    await pool.execute("analyze treadle.cron; analyze treadle.tick")
    due = await pool.fetch(f"explain {DUE}", datetime(2026, 11, 21, tzinfo=UTC), 10, MOST_BYTES)
    assert "cron_due" in "\n".join(row[0] for row in due)
    old = await pool.fetch(f"explain {FORGET}", timedelta(days=1), 10)
    assert "tick_age" in "\n".join(row[0] for row in old)
