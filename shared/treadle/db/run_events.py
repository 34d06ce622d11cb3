"""The outbox of run events (migrations/0011_run_events.sql): triggers write it, the leading scheduler empties it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from treadle.db.pool import Pool
from treadle.db.rows import read
from treadle.model import Record
from treadle.wire.run_event import RunEventStatus

# In the order of their ids, which for each thread is the order in which they were committed.
WAITING = """
select event_id, run_id, thread_id, assistant_id, graph_id, status, attempt, at, tenant,
       at < clock_timestamp() - make_interval(secs => $3) as too_old
  from treadle.run_event where event_id > $1 order by event_id limit $2
"""
REMOVE = "delete from treadle.run_event where event_id = any($1)"
# As far as is worth counting.
DEPTH = "select count(*) from (select from treadle.run_event limit $1) as waiting"
MOST_COUNTED = 1_000_000


class NotedEvent(Record, frozen=True):
    """A row of the outbox; `event_id` orders the events of a thread, and is of use inside this database only."""

    event_id: int
    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    graph_id: str
    status: RunEventStatus
    attempt: int
    at: datetime
    tenant: str
    too_old: bool


class RunEventOutbox:
    """What happened to runs and has not been published."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def waiting(self, after: int, limit: int, max_age_secs: float) -> list[NotedEvent]:
        """The first events behind an id, and whether they are older than `max_age_secs`."""
        rows = await self._pool.fetch(WAITING, after, limit, max_age_secs)
        return [read(NotedEvent, row) for row in rows]

    async def remove(self, events: Sequence[NotedEvent]) -> None:
        """These are published, or given up."""
        await self._pool.execute(REMOVE, [event.event_id for event in events])

    async def depth(self) -> int:
        """How many wait, up to a million."""
        return await self._pool.fetchval(DEPTH, MOST_COUNTED)
