"""Ticks of crons in Postgres: each is made once, on whatever clock, and one cron's trouble is not another's."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.integration.ticking import Clock, Ticking, new_cron, ticks_of
from treadle.db.pool import Pool

MADE = "2026-11-21T10:00:30+00:00"


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
