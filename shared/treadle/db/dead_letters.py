"""Dead letters of runs in Postgres: runs that were given up since their workers died again and again.

They are written where a run is given up, in `treadle.claim_next` (migrations/0014_solitary_runs.sql).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from treadle.db.forgetting import forget
from treadle.db.pool import Connection, Pool, transaction
from treadle.db.rows import Row, read
from treadle.errors import Conflict
from treadle.model import Record, default_assistant_id, tenant_of

# The newest first, from below an id.
PAGE = """
select id, run_id, thread_id, graph_id, attempts, reason, created_at from treadle.dead_letter
 where ($1::bigint is null or id < $1) order by id desc limit $2
"""
GET = "select * from treadle.dead_letter where id = $1"
# Of two that want to do something about it, one finds it.
TAKE = "delete from treadle.dead_letter where id = $1 returning *"
DELETE = "delete from treadle.dead_letter where id = any($1::bigint[]) returning id"
FORGET = """
delete from treadle.dead_letter where id = any(array(
    select id from treadle.dead_letter where created_at < statement_timestamp() - $1::interval
     order by created_at limit $2 for update skip locked))
"""
# Everything that makes runs on a thread holds this lock. No row: the thread is gone.
LOCK_THREAD = "select from treadle.thread where thread_id = $1 and gone_at is null for no key update"
# Whether another run of the thread was on since the dead one, or will be before a new one (a delayed one may be): the newest
# checkpoint is not the dead run's then. Not a matter of the order in which they were accepted: delayed runs come late.
PASSED = """
select exists (
    select from treadle.run r
     where r.thread_id = $1 and r.run_id <> $2
       and (r.status in ('pending', 'running')
            or r.started_at is not null and r.ended_at > (select ended_at from treadle.run where run_id = $2)))
"""
# The same request once more, behind what waits on the thread. What is known of the run's assistant may be gone with it.
CREATE = """
select made.* from (values (1)) as one
  left join treadle.run dead on dead.run_id = $8
  left join treadle.thread t on t.thread_id = $2,
  lateral treadle.create_run(
      $1, $2, coalesce(dead.assistant_id, $3), $4, $5, coalesce(dead.metadata, $6), 'enqueue', 'reject', null,
      coalesce(dead.route, 'default'), $7, '{}', coalesce(t.config, '{}'), null, null, null, $9, null) as made
"""


class DeadRun(Record, frozen=True, kw_only=True):
    """A run that was given up."""

    id: int
    run_id: UUID
    thread_id: UUID
    graph_id: str
    attempts: int
    reason: str
    created_at: datetime


class DeadRunInFull(DeadRun, frozen=True, kw_only=True):
    """One with what it was to execute."""

    kwargs: dict[str, Any] | None


class Remade(msgspec.Struct, frozen=True):
    """The run that took a dead one's place. `goes_on`: where that one got to; else from its input."""

    run_id: UUID
    thread_id: UUID
    route: str
    goes_on: bool
    attempt: int = 0


class DeadRuns:
    """The dead letters of runs."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, below: int | None, limit: int) -> list[DeadRun]:
        """The newest ones whose id is below another, newest first."""
        return [read(DeadRun, row) for row in await self._pool.fetch(PAGE, below, limit)]

    async def get(self, dead_id: int) -> DeadRunInFull | None:
        row = await self._pool.fetchrow(GET, dead_id)
        return None if row is None else read(DeadRunInFull, row)

    async def remade(self, dead_id: int, run_id: UUID, other_thread: UUID) -> Remade | None:
        """Make the run once more, and remove its dead letter, both or neither; None: there is no such dead letter.

        It goes on from where the dead run got to, unless other runs have used the thread since. Is the thread gone, as
        that of a stateless run soon is, it begins anew on a thread of its own.

        Args:
            run_id: of the new run.
            other_thread: the thread of its own, should it need one.

        Raises:
            Conflict: it was to answer a question that another run answers now; nothing was done.
        """
        async with transaction(self._pool) as connection:
            row = await connection.fetchrow(TAKE, dead_id)
            if row is None:
                return None
            return await _remade(connection, read(DeadRunInFull, row), run_id, other_thread)

    async def delete(self, dead_ids: Sequence[int]) -> list[int]:
        """Remove some of them; returns those that were there."""
        return [row["id"] for row in await self._pool.fetch(DELETE, dead_ids)]

    async def forget(self, keep_secs: float, limit: int) -> int:
        """Remove those that were written long ago; returns how many."""
        return await forget(self._pool, FORGET, keep_secs, limit)


async def _remade(connection: Connection, dead: DeadRunInFull, run_id: UUID, other_thread: UUID) -> Remade:
    assistant = default_assistant_id(dead.graph_id)
    gone = await connection.fetchrow(LOCK_THREAD, dead.thread_id) is None
    goes_on = not gone and not await connection.fetchval(PASSED, dead.thread_id, dead.run_id)
    [row] = await connection.fetch(
        CREATE,
        run_id,
        other_thread if gone else dead.thread_id,
        assistant,
        dead.graph_id,
        _kwargs(dead, goes_on=goes_on),
        {"graph_id": dead.graph_id, "assistant_id": str(assistant)},
        gone,
        dead.run_id,
        tenant_of(dead.kwargs or {}),
    )
    return _answer(dead, row, goes_on=goes_on)


def _kwargs(dead: DeadRunInFull, *, goes_on: bool) -> dict[str, Any]:
    """What the dead run was to execute, with the ids of those in whose place the new one stands."""
    kwargs = dict(dead.kwargs or {})
    before = kwargs.pop("continues", [])
    return {**kwargs, "continues": [*before, str(dead.run_id)]} if goes_on else kwargs


def _answer(dead: DeadRun, row: Row, *, goes_on: bool) -> Remade:
    if row["outcome"] == "answered":
        raise Conflict(
            f"Run {dead.run_id} was to answer a question of thread {dead.thread_id} that another run answers now. Its dead "
            "letter is kept: try again when that one has ended, or purge it."
        )
    run = row["run"]
    return Remade(run["run_id"], run["thread_id"], run["route"], goes_on)
