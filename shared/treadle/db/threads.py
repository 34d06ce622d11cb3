"""Everything that is said to Postgres about threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from treadle import json
from treadle.db.pool import Connection, Pool
from treadle.db.rows import read
from treadle.db.scope import Scope, sees
from treadle.db.together import Maker, ThreadsTogether
from treadle.model import Thread, Ttl

CREATE = """
insert into treadle.thread (thread_id, metadata, ttl_strategy, ttl_minutes, tenant, owner)
values ($1, $2::text::jsonb, $3, $4, $5, $6)
on conflict (thread_id) do nothing returning *
"""
GET = f"select * from treadle.thread where thread_id = $1 and gone_at is null and {sees(2)}"  # noqa: S608 - constants
WITHIN = f"select exists (select from treadle.thread where thread_id = $1 and {sees(2)})"  # noqa: S608 - as above
OUTSIDE = f"select exists (select from treadle.thread where thread_id = $1 and not {sees(2)})"  # noqa: S608 - as above
UPDATE = f"""
update treadle.thread
   set metadata = metadata || $2::text::jsonb, updated_at = clock_timestamp(),
       ttl_strategy = coalesce($3, ttl_strategy), ttl_minutes = coalesce($4, ttl_minutes)
 where thread_id = $1 and gone_at is null and {sees(5)} returning *
"""  # noqa: S608 - put together from constants
DELETE = f"""
select * from treadle.delete_threads(array(
    select thread_id from treadle.thread where thread_id = any($1) and {sees(2)}))
"""  # noqa: S608 - put together from constants
# Stateless threads whose result nobody can wait for any more, with all that they own.
FORGET_GONE = """
select count(*) from treadle.delete_threads(array(
    select thread_id from treadle.thread where gone_at < statement_timestamp() - make_interval(secs => $1)
     order by gone_at limit $2 for update skip locked))
"""
EXPIRE = "select * from treadle.expire_threads($1)"
# Those that are to be pruned; what happens on one in the meantime puts it off again.
DUE_FOR_PRUNING = """
select thread_id from treadle.thread
 where expires_at <= statement_timestamp() and ttl_strategy = 'keep_latest' and status <> 'busy'
 order by expires_at limit $1
"""
# Until something happens on it again there is nothing more to prune.
SET_PRUNED = "update treadle.thread set expires_at = null where thread_id = $1"
LOCK = f"""
select from treadle.thread where thread_id = $1 and gone_at is null and {sees(2)} for no key update
"""
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
        self._together = ThreadsTogether(pool)

    async def create_new(
        self, maker: Maker, thread_id: UUID, metadata: dict[str, Any], ttl: Ttl | None = None
    ) -> Thread:
        """Make a thread under an id that nobody else can have; those of one moment are made together."""
        return await self._together.create(thread_id, _jsonb(metadata), _ttl(ttl), maker)

    async def create(
        self, maker: Maker, thread_id: UUID, metadata: dict[str, Any], ttl: Ttl | None = None
    ) -> Thread | None:
        """Make a thread; None when the id is taken."""
        return await insert(self._pool, maker, thread_id, metadata, ttl)

    async def get(self, scope: Scope, thread_id: UUID) -> Thread | None:
        return _thread(await self._pool.fetchrow(GET, thread_id, *scope))

    async def is_within(self, scope: Scope, thread_id: UUID) -> bool:
        """Whether there is such a thread, and in this scope."""
        return await self._pool.fetchval(WITHIN, thread_id, *scope)

    async def is_outside(self, scope: Scope, thread_id: UUID) -> bool:
        """Whether there is such a thread, and not in this scope."""
        return await self._pool.fetchval(OUTSIDE, thread_id, *scope)

    async def update(
        self, scope: Scope, thread_id: UUID, metadata: dict[str, Any], ttl: Ttl | None = None
    ) -> Thread | None:
        """Merge into the metadata, and set the time to live if one is given; None when there is no such thread."""
        return _thread(await self._pool.fetchrow(UPDATE, thread_id, _jsonb(metadata), *_ttl(ttl), *scope))

    async def delete(self, scope: Scope, thread_ids: Sequence[UUID]) -> list[UUID]:
        """Remove threads with their runs and checkpoints; returns those that were there."""
        return [row[0] for row in await self._pool.fetch(DELETE, thread_ids, *scope)]

    async def forget_gone(self, age_secs: float, limit: int) -> int:
        """Remove stateless threads that ended longer than `age_secs` ago; returns how many."""
        return await self._pool.fetchval(FORGET_GONE, age_secs, limit)

    async def expire(self, limit: int) -> list[UUID]:
        """Remove threads that have expired, the longest expired first; those whose runs go on stay."""
        return [row[0] for row in await self._pool.fetch(EXPIRE, limit)]

    async def due_for_pruning(self, limit: int) -> list[UUID]:
        """Threads that have expired and keep their latest state, the longest expired first."""
        return [row[0] for row in await self._pool.fetch(DUE_FOR_PRUNING, limit)]


async def insert(
    connection: Connection | Pool, maker: Maker, thread_id: UUID, metadata: dict[str, Any], ttl: Ttl | None
) -> Thread | None:
    """Make a thread; None when the id is taken. In a transaction nobody else sees it before its end."""
    return _thread(await connection.fetchrow(CREATE, thread_id, _jsonb(metadata), *_ttl(ttl), *maker))


async def set_pruned(connection: Connection, thread_id: UUID) -> None:
    """Note that a thread has nothing more to prune; it is locked by the caller."""
    await connection.execute(SET_PRUNED, thread_id)


async def lock_at_rest(connection: Connection, scope: Scope, thread_id: UUID) -> bool | None:
    """Lock a thread inside the caller's transaction: True at rest, False while runs are on, None if missing.

    As long as the transaction lasts no run of the thread can be created, claimed or finished.
    """
    if await connection.fetchrow(LOCK, thread_id, *scope) is None:
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


def _jsonb(value: Any) -> str:
    return json.jsonb_text(json.encode(value))


def _ttl(ttl: Ttl | None) -> tuple[str | None, float | None]:
    return (None, None) if ttl is None else (ttl.strategy, ttl.minutes)


def _thread(row: Any) -> Thread | None:
    return None if row is None else read(Thread, row)
