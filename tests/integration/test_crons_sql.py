"""Crons in Postgres: what is due, and what has certain metadata, is found by an index."""

from __future__ import annotations

from treadle.db.crons import LAST, MATCHES, SEARCH, CronFilter
from treadle.db.pool import Pool
from treadle.db.scope import DEFAULT

MANY = """
with made as (insert into treadle.assistant (assistant_id, graph_id, name)
              values (gen_random_uuid(), 'agent', 'agent') returning assistant_id)
insert into treadle.cron (cron_id, assistant_id, schedule, on_run_completed, payload, metadata, next_run_date)
select gen_random_uuid(), assistant_id, '* * * * *', 'delete', '{}', jsonb_build_object('tenant', n % 5000),
       now() + make_interval(secs => n)
  from made, generate_series(1, 20000) n
"""
DUE = "select * from treadle.cron where enabled and next_run_date <= now() order by next_run_date limit 100"


async def test_what_is_asked_of_crons_goes_by_an_index(pool: Pool) -> None:
    await pool.execute(MANY)
    await pool.execute("analyze treadle.cron")
    statement = SEARCH.format(matches=MATCHES, last=LAST, column="created_at", order="desc")
    for wanted, index in (
        (CronFilter(metadata={"tenant": 7}), "cron_metadata"),
        (CronFilter(), "cron_newest"),
    ):
        searched = await pool.fetch(f"explain {statement}", *wanted.parameters, *DEFAULT, 10, 0)
        assert index in "\n".join(row[0] for row in searched)
    assert "cron_due" in "\n".join(row[0] for row in await pool.fetch(f"explain {DUE}"))
