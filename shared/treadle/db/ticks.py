"""Everything that is said to Postgres about ticks: which crons are due, and what was made of it.

The step itself (locks, outcomes) is in migrations/0009_ticks.sql, and as it is now in 0016_once.sql.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import asyncpg
import msgspec

from treadle.db.forgetting import forget
from treadle.db.new_run import NewRun
from treadle.db.pool import Pool, clock
from treadle.db.rows import read
from treadle.db.runs import UNSTORABLE, CancelledRun
from treadle.model import Cron

# Crons that are due, the longest waiting first; no more of them than can be held at once, however large they are.
DUE = """
with due as (select * from treadle.cron where enabled and next_run_date <= $1 order by next_run_date limit $2),
     sized as (select *, sum(pg_column_size(payload)) over (rows unbounded preceding) as bytes from due)
select * from sized where bytes - pg_column_size(payload) < $3
"""
# Make a batch of ticks in one transaction.
MAKE = """
select made.outcome, made.cancelled
  from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::text[],
              $7::uuid[], $8::uuid[], $9::uuid[], $10::text[], $11::json[], $12::jsonb[], $13::text[], $14::text[],
              $15::interval[], $16::text[], $17::boolean[], $18::jsonb[], $19::jsonb[], $20::uuid[], $21::text[],
              $22::float8[], $23::text[], $24::text[])
       as t (cron, seen, updated, scheduled, following, error,
             run, thread, assistant, graph, kwargs, metadata, strategy, if_not_exists,
             delay, route, stateless, thread_metadata, thread_config, revision, ttl_strategy,
             ttl_minutes, tenant, conditions),
       lateral treadle.make_tick(
           t.cron, t.seen, t.updated, t.scheduled, t.following, t.error, t.run, t.thread, t.assistant, t.graph,
           t.kwargs, t.metadata, t.strategy, t.if_not_exists, t.delay, t.route, t.stateless, t.thread_metadata,
           t.thread_config, t.revision, t.ttl_strategy, t.ttl_minutes, t.tenant, t.conditions::jsonb) as made
"""
# How many parameters of MAKE are about the run.
OF_RUN = 18
FORGET = """
delete from treadle.tick where ctid = any(array(
    select ctid from treadle.tick
     where made_at < statement_timestamp() - $1::interval order by made_at limit $2 for update skip locked))
"""

# Of the payloads of one batch, as they are stored.
MOST_BYTES = 16_000_000


class NewTick(msgspec.Struct, frozen=True):
    """A tick that is to be made: of which cron, as it was seen, for when, and when the cron is due after it.

    With the run, or with the reason why there is to be none.
    """

    cron: Cron
    scheduled_for: datetime
    following: datetime | None
    run: NewRun | None
    error: str | None = None


class MadeTick(msgspec.Struct, frozen=True):
    """What came of a tick; `moved`: the cron is no longer as it was seen, or it or its thread is in somebody else's hands."""

    outcome: Literal[
        "created", "busy", "answered", "thread_not_found", "refused", "assistant_changed", "moved"
    ]
    cancelled: tuple[CancelledRun, ...] = ()


class Ticks:
    """The ticks of crons in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def due(self, now: datetime, limit: int) -> list[Cron]:
        """Crons that are due at a moment, the longest waiting first."""
        return [read(Cron, row) for row in await self._pool.fetch(DUE, now, limit, MOST_BYTES)]

    async def make(self, ticks: Sequence[NewTick]) -> list[MadeTick]:
        """Make ticks, at most one of a cron, each by itself: what is refused is written down, and stops no other.

        Raises what postgres_errors takes for Postgres being away; none of them is made then.
        """
        try:
            return await self._make(ticks)
        except (*UNSTORABLE, asyncpg.DeadlockDetectedError):
            return [await self._make_alone(tick) for tick in ticks]

    async def _make_alone(self, tick: NewTick) -> MadeTick:
        try:
            [made] = await self._make([tick])
        except UNSTORABLE as error:
            refused = msgspec.structs.replace(tick, run=None, error=f"Postgres cannot store its run: {error}")
            [made] = await self._make([refused])
        return made

    async def _make(self, ticks: Sequence[NewTick]) -> list[MadeTick]:
        rows = await self._pool.fetch(MAKE, *zip(*map(_parameters, ticks), strict=True))
        return [MadeTick(row["outcome"], _cancelled(row["cancelled"])) for row in rows]

    async def clock(self) -> datetime:
        """The database's clock, by which crons are due."""
        return await clock(self._pool)

    async def forget(self, keep_secs: float, limit: int) -> int:
        """Remove the oldest of what was made longer ago than that; returns how many."""
        return await forget(self._pool, FORGET, keep_secs, limit)


def _cancelled(items: list[Any]) -> tuple[CancelledRun, ...]:
    return tuple(msgspec.convert(item, CancelledRun) for item in items)


def _parameters(tick: NewTick) -> tuple[object, ...]:
    """As MAKE takes them."""
    cron = tick.cron
    seen = cron.cron_id, cron.next_run_date, cron.updated_at
    run = (None,) * OF_RUN if tick.run is None else tick.run.parameters()
    return *seen, tick.scheduled_for, tick.following, tick.error, *run
