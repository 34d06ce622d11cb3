"""Runs that wait for their tenant's turn (migrations/0025_turns.sql)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from treadle import json
from treadle.db.pool import Pool
from treadle.db.scope import Scope, sees

# A run that is not pending any more needs no turn; one that has its place keeps it.
PUT = """
insert into treadle.turn (run_id, thread_id, tenant, route, attempt, priority, seq)
select r.run_id, r.thread_id, t.tenant, r.route, r.attempt, coalesce(t.priority, 0), r.seq
  from treadle.run r join treadle.thread t using (thread_id)
 where r.run_id = any($1::uuid[]) and r.status = 'pending'
on conflict (run_id) do nothing
"""
ANY = "select exists (select from treadle.turn where route = $1)"
BY_TENANT = "select tenant, count(*) as waiting from treadle.turn where route = $1 group by tenant"
ROUTES = """
with recursive routes (route) as (
    (select route from treadle.turn order by route limit 1)
    union all
    select (select t.route from treadle.turn t where t.route > r.route order by t.route limit 1)
      from routes r where r.route is not null
)
select route from routes where route is not null
"""
ADMIT = "select * from treadle.admit($1, $2, $3::text::jsonb)"
FORGET = """
delete from treadle.turn t
 where not exists (select from treadle.run r where r.run_id = t.run_id and r.status = 'pending')
"""
PRIORITY = f"select priority, metadata from treadle.thread where thread_id = $1 and {sees(2)}"  # noqa: S608 - put together from constants
# The first word on a thread's priority stays.
SET_PRIORITY = "update treadle.thread set priority = $2 where thread_id = $1 and priority is null"


class Admitted(msgspec.Struct, frozen=True):
    """A run whose turn it is: what workers are told of it."""

    run_id: UUID
    thread_id: UUID
    route: str
    attempt: int


class ThreadPriority(msgspec.Struct, frozen=True):
    """What a thread says of its runs' priority; None: nothing yet."""

    priority: int | None
    metadata: dict[str, Any]


class TurnRows:
    """Everything that is said to Postgres about turns."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put(self, run_ids: Sequence[UUID]) -> None:
        """Let these runs wait for their turn, if they wait to be begun."""
        await self._pool.execute(PUT, run_ids)

    async def any(self, route: str) -> bool:
        """Whether runs of a route wait for their turn."""
        return await self._pool.fetchval(ANY, route)

    async def admit(self, route: str, room: int, shares: Mapping[str, Mapping[str, Any]]) -> list[Admitted]:
        """The next runs whose turn it is, `room` at the most; they no longer wait for it.

        Args:
            shares: by tenant, `*` for those that are not named: `weight`, `concurrency`, `starts_per_minute`.
        """
        rows = await self._pool.fetch(ADMIT, route, room, json.jsonb_text(json.encode(shares)))
        return [Admitted(row["run_id"], row["thread_id"], row["route"], row["attempt"]) for row in rows]

    async def by_tenant(self, route: str) -> dict[str, int]:
        """How many runs of each tenant wait for their turn on a route."""
        rows = await self._pool.fetch(BY_TENANT, route)
        return {row["tenant"]: row["waiting"] for row in rows}

    async def routes(self) -> list[str]:
        """Where runs wait for their turn."""
        return [row["route"] for row in await self._pool.fetch(ROUTES)]

    async def forget_what_needs_none(self) -> int:
        """Drop the rows of runs that have begun, ended or gone; returns how many."""
        return int((await self._pool.execute(FORGET)).rpartition(" ")[2])

    async def thread(self, scope: Scope, thread_id: UUID) -> ThreadPriority | None:
        """The priority of a thread that is within the scope."""
        row = await self._pool.fetchrow(PRIORITY, thread_id, *scope)
        return None if row is None else ThreadPriority(row["priority"], row["metadata"])

    async def set_priority(self, thread_id: UUID, priority: int) -> None:
        """Say which runs of a thread go first (-5) or last (5), unless it has been said."""
        await self._pool.execute(SET_PRIORITY, thread_id, priority)
