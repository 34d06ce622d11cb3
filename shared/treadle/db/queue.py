"""What waits, seen by those who keep an eye on the queue: runs that somebody must be told of, and how many there are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self, TypeVar
from uuid import UUID

import msgspec

from treadle.db.pool import Pool, clock

# All of these compare with the clock as it was when the statement began: an index cannot be searched for what is older than
# `clock_timestamp()`, which may change from row to row, and everything that is not due yet would be read.

# Heads of threads that have waited too long: pending and due, with nothing running before them, in the order of
# migrations/0013_run_order.sql. Longest waiting first, from where the last look ended, so that runs nobody can serve do not hide the others.
# Those that wait for their tenant's turn are among them, and marked: to look beyond them for others would be to look at all of them.
OVERDUE = """
select r.run_id, r.thread_id, r.route, r.attempt, greatest(r.updated_at, r.not_before) as since, r.seq,
       exists (select from treadle.turn t where t.run_id = r.run_id) as has_turn,
       extract(epoch from clock_timestamp() - greatest(r.updated_at, r.not_before))::float8 as waited_secs
  from treadle.run r
 where r.status = 'pending' and (greatest(r.updated_at, r.not_before), r.seq) > ($3, $4)
   and greatest(r.updated_at, r.not_before) < statement_timestamp() - make_interval(secs => $1)
   and not exists (select from treadle.run o where o.thread_id = r.thread_id and o.status = 'running')
   and not exists (select from treadle.run o where o.thread_id = r.thread_id and o.status = 'pending'
                      and (o.attempt = 0, o.seq) < (r.attempt = 0, r.seq)
                      and (o.not_before is null or o.not_before <= clock_timestamp()))
 order by greatest(r.updated_at, r.not_before), r.seq limit $2
"""
# Runs whose worker is dead, hangs, or is cut off.
LEASELESS = """
select r.run_id, r.thread_id, r.route, r.attempt, l.lease_until as since,
       extract(epoch from clock_timestamp() - l.lease_until)::float8 as waited_secs
  from treadle.lease l join treadle.run r using (run_id)
 where l.lease_until < statement_timestamp() order by l.lease_until limit $1
"""
# How long the next lease to end will last.
NEXT_LEASE_END = """
select extract(epoch from min(lease_until) - clock_timestamp())::float8 from treadle.lease
 where lease_until >= statement_timestamp()
"""
# Delayed runs that have come due since the last look. Many may be due at the same moment: the run's id orders those.
COME_DUE = """
select run_id, thread_id, route, attempt, not_before as since, not_before, 0::float8 as waited_secs from treadle.run
 where status = 'pending' and not_before is not null and not_before <= statement_timestamp()
   and not_before >= $1 and (not_before, run_id) > ($1, $2)
 order by not_before, run_id limit $3
"""
QUEUE = """
select route, count(*) as depth,
       extract(epoch from clock_timestamp() - min(coalesce(not_before, created_at)))::float8 as oldest_secs
  from treadle.run where status = 'pending' and greatest(updated_at, not_before) <= statement_timestamp()
 group by route
"""
# The same for one route, counted no further than to a bound; the order makes it read the index.
WAITING = """
select count(*) from (
    select from treadle.run
     where status = 'pending' and route = $1 and greatest(updated_at, not_before) <= statement_timestamp()
     order by greatest(updated_at, not_before), seq limit $2) as waiting
"""


class WaitingRun(msgspec.Struct, frozen=True):
    """A run that somebody must be told of, and since when it has waited for that."""

    run_id: UUID
    thread_id: UUID
    route: str
    attempt: int
    since: datetime
    waited_secs: float


class WaitingPlace(NamedTuple):
    """A place among those that wait: since when, and which of those that wait since then."""

    since: datetime
    seq: int


class OverdueRun(WaitingRun, frozen=True):
    """`has_turn`: it waits for its tenant's turn."""

    seq: int
    has_turn: bool

    @property
    def place(self) -> WaitingPlace:
        return WaitingPlace(self.since, self.seq)


class DueRun(WaitingRun, frozen=True):
    not_before: datetime


class DuePlace(NamedTuple):
    """A place in the order in which delayed runs come due."""

    not_before: datetime
    run_id: UUID

    @classmethod
    def at(cls, moment: datetime) -> Self:
        """Before all runs that are due at a moment."""
        return cls(moment, UUID(int=0))

    @classmethod
    def of(cls, run: DueRun) -> Self:
        return cls(run.not_before, run.run_id)


class RouteQueue(msgspec.Struct, frozen=True):
    """Runs of a route that are due and not yet claimed, and the age of the oldest."""

    route: str
    depth: int
    oldest_secs: float


class Waiting(msgspec.Struct, frozen=True):
    """How many runs wait, and how long Postgres took to count them; a wait for a connection is not part of that."""

    count: int
    secs: float


class Queue:
    """The runs in Postgres that are not in work, or whose worker is gone."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def depths(self) -> list[RouteQueue]:
        """What waits on each route."""
        rows = await self._pool.fetch(QUEUE)
        return [RouteQueue(row["route"], row["depth"], row["oldest_secs"]) for row in rows]

    async def waiting(self, route: str, most: int) -> Waiting:
        """How many runs of a route are due and not yet claimed, `most` if there are more."""
        async with self._pool.acquire() as connection:
            began = time.monotonic()
            count = await connection.fetchval(WAITING, route, most)
            return Waiting(count, time.monotonic() - began)

    async def overdue(self, age_secs: float, limit: int, after: WaitingPlace) -> list[OverdueRun]:
        """Runs behind a place that nobody seems to have been told of for `age_secs`, longest waiting first."""
        return _each(OverdueRun, await self._pool.fetch(OVERDUE, age_secs, limit, *after))

    async def leaseless(self, limit: int) -> list[WaitingRun]:
        """Running runs whose lease has ended."""
        return _each(WaitingRun, await self._pool.fetch(LEASELESS, limit))

    async def next_lease_end(self) -> float | None:
        """Seconds until a lease ends, if nobody extends it; None: there is no lease that has not ended."""
        return await self._pool.fetchval(NEXT_LEASE_END)

    async def come_due(self, after: DuePlace, limit: int) -> list[DueRun]:
        """Delayed runs behind a place that are due now and not taken, in the order of their moments."""
        return _each(DueRun, await self._pool.fetch(COME_DUE, *after, limit))

    async def clock(self) -> datetime:
        """The database's clock, the only one that leases and delays go by."""
        return await clock(self._pool)


W = TypeVar("W", bound=WaitingRun)


def _each(kind: type[W], rows: Sequence[Any]) -> list[W]:
    return [kind(**{name: row[name] for name in kind.__struct_fields__}) for row in rows]
