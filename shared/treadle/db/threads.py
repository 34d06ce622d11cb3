"""Everything that is said to Postgres about threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from treadle import json
from treadle.db.pool import Connection, Pool
from treadle.db.rows import read
from treadle.model import Thread

CREATE = """
insert into treadle.thread (thread_id, metadata) values ($1, $2::text::jsonb)
on conflict (thread_id) do nothing returning *
"""
GET = "select * from treadle.thread where thread_id = $1 and gone_at is null"
UPDATE_METADATA = """
update treadle.thread set metadata = metadata || $2::text::jsonb, updated_at = clock_timestamp()
 where thread_id = $1 and gone_at is null returning *
"""
DELETE = "select * from treadle.delete_threads($1)"
# Stateless threads whose result nobody can wait for any more.
GONE = """
select thread_id from treadle.thread
 where gone_at < clock_timestamp() - make_interval(secs => $1) order by gone_at limit $2
"""
LOCK = "select from treadle.thread where thread_id = $1 and gone_at is null for no key update"
# A statement of its own, begun under the lock: the locking one would look with the eyes of before its wait.
BUSY = "select exists (select from treadle.run where thread_id = $1 and status in ('pending', 'running'))"
# After a state update from outside a run; the caller holds the thread's lock.
SET_STATE = """
update treadle.thread
   set "values" = $2::text::jsonb, interrupts = $3::text::jsonb, error = null,
       metadata = metadata || $4::text::jsonb,
       status = $5, resting = $5,
       updated_at = clock_timestamp(), state_updated_at = clock_timestamp()
 where thread_id = $1
"""


class Threads:
    """The threads in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, thread_id: UUID, metadata: dict[str, Any]) -> Thread | None:
        """Make a thread; None when the id is taken."""
        return _thread(await self._pool.fetchrow(CREATE, thread_id, json.jsonb_text(json.encode(metadata))))

    async def get(self, thread_id: UUID) -> Thread | None:
        return _thread(await self._pool.fetchrow(GET, thread_id))

    async def update_metadata(self, thread_id: UUID, metadata: dict[str, Any]) -> Thread | None:
        """Merge into the metadata; None when there is no such thread."""
        data = json.jsonb_text(json.encode(metadata))
        return _thread(await self._pool.fetchrow(UPDATE_METADATA, thread_id, data))

    async def delete(self, thread_ids: Sequence[UUID]) -> list[UUID]:
        """Remove threads with their runs and checkpoints; returns those that were there."""
        return [row[0] for row in await self._pool.fetch(DELETE, thread_ids)]

    async def gone(self, age_secs: float, limit: int) -> list[UUID]:
        """Stateless threads that ended longer than `age_secs` ago."""
        return [row[0] for row in await self._pool.fetch(GONE, age_secs, limit)]


async def lock_at_rest(connection: Connection, thread_id: UUID) -> bool | None:
    """Lock a thread inside the caller's transaction: True at rest, False while runs are on, None if missing.

    As long as the transaction lasts no run of the thread can be created, claimed or finished.
    """
    if await connection.fetchrow(LOCK, thread_id) is None:
        return None
    return not await connection.fetchval(BUSY, thread_id)


async def set_state(
    connection: Connection,
    thread_id: UUID,
    values: bytes,
    interrupts: bytes,
    metadata: bytes,
    status: Literal["idle", "interrupted"],
) -> None:
    """Record the state that an update from outside a run left; the thread is locked by the caller."""
    await connection.execute(
        SET_STATE, thread_id, *(json.jsonb_text(data) for data in (values, interrupts, metadata)), status
    )


def _thread(row: Any) -> Thread | None:
    return None if row is None else read(Thread, row)
