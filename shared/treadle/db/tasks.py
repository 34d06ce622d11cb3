"""Tasks of the Agent-to-Agent protocol: a run, and the runs with which its questions were answered.

Each of these runs has `a2a` in its metadata: `task`, the id of the first of them, and `message`, the id of the
message that it came from.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from treadle.db.pool import Pool
from treadle.db.rows import read
from treadle.db.scope import Scope, sees
from treadle.model import Run

# Where a task stands is where its newest run does.
NEWEST = f"""
select r.* from treadle.run r join treadle.thread t using (thread_id)
 where r.thread_id = $1 and t.gone_at is null and r.assistant_id = $3 and {sees(4, "t")}
   and (r.run_id = $2 or r.metadata @> jsonb_build_object('a2a', jsonb_build_object('task', $2::uuid::text)))
 order by r.seq desc limit 1
"""  # noqa: S608 - put together from constants
OPENINGS = """
select metadata -> 'a2a' ->> 'message' as message, metadata -> 'a2a' ->> 'task' as task
  from treadle.run where thread_id = $1 and metadata ? 'a2a' order by seq
"""
# The newest run of each task, as long as it fits what is asked for. The output is looked at as text: Postgres takes
# no JSON apart that holds NUL.
_FOUND = f"""
  from treadle.run r join treadle.thread t using (thread_id)
 where r.assistant_id = $1 and r.metadata ? 'a2a' and t.gone_at is null and {sees(5, "t")}
   and ($2::uuid is null or r.thread_id = $2)
   and ($3::timestamptz is null or r.updated_at >= $3)
   and ($4::text is null or $4 = case
        when r.status = 'pending' then 'submitted'
        when r.status = 'running' then 'working'
        when r.status = 'interrupted' then 'canceled'
        when r.status <> 'success' then 'failed'
        when position('"__interrupt__":' in r.output::text) = 0 then 'completed'
        else 'input-required' end)
   and not exists (
        select from treadle.run later
         where later.thread_id = r.thread_id and later.seq > r.seq
           and later.metadata -> 'a2a' ->> 'task' = r.metadata -> 'a2a' ->> 'task')
"""
LIST = f"select r.* {_FOUND} and ($7::bigint is null or r.seq < $7) order by r.seq desc limit $8"
COUNT = f"select count(*) {_FOUND}"


class TaskQuery(NamedTuple):
    """Which tasks of an assistant to list; `state` as the protocol's 0.3 calls it."""

    assistant_id: UUID
    thread_id: UUID | None
    updated_after: datetime | None
    state: str | None


class TaskRuns:
    """The runs of tasks in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def newest(self, scope: Scope, thread_id: UUID, task: UUID, assistant_id: UUID) -> Run | None:
        """The newest run of a task."""
        return _run(await self._pool.fetchrow(NEWEST, thread_id, task, assistant_id, *scope))

    async def openings(self, thread_id: UUID) -> dict[str, UUID]:
        """The task that each message of a thread belongs to, by the message's id."""
        rows = await self._pool.fetch(OPENINGS, thread_id)
        return {row["message"]: UUID(row["task"]) for row in rows}

    async def list(self, scope: Scope, query: TaskQuery, before: int | None, limit: int) -> list[Run]:
        """The newest runs of tasks, newest first; `before`: the `seq` of the last one that was listed."""
        return [read(Run, row) for row in await self._pool.fetch(LIST, *query, *scope, before, limit)]

    async def count(self, scope: Scope, query: TaskQuery) -> int:
        return await self._pool.fetchval(COUNT, *query, *scope)


def _run(row: Any) -> Run | None:
    return None if row is None else read(Run, row)
