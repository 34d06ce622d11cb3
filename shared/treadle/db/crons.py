"""Everything that is said to Postgres about crons."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg
import msgspec

from treadle import json
from treadle.db.pool import Connection, Pool, clock
from treadle.db.rows import Row, read
from treadle.db.scope import Scope, sees
from treadle.model import Cron, CronWithTick, OnMissed

SortBy = Literal[
    "cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"
]
SortOrder = Literal["asc", "desc"]

# The newest tick of each cron that is read.
LAST = """
  left join lateral (select run_id as last_run_id, thread_id as last_thread_id, error as last_error
                       from treadle.tick where tick.cron_id = cron.cron_id
                      order by scheduled_for desc limit 1) last on true
"""
CREATE = f"""
with cron as (
insert into treadle.cron (cron_id, assistant_id, thread_id, schedule, timezone, end_time, enabled,
                          on_run_completed, payload, metadata, next_run_date, on_missed, tenant, asking)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::json, $10::text::jsonb, $11, $12, $13, $14::text::json) returning *
)
select * from cron {LAST}
"""  # noqa: S608 - put together from constants
REPLACE = f"""
with cron as (
update treadle.cron
   set schedule = $2, timezone = $3, end_time = $4, enabled = $5, on_run_completed = $6,
       payload = $7::text::json, metadata = $8::text::jsonb, next_run_date = $9, on_missed = $10,
       asking = $11::text::json, updated_at = clock_timestamp()
 where cron_id = $1 returning *
)
select * from cron {LAST}
"""  # noqa: S608 - put together from constants
LOCK = f"select * from treadle.cron where cron_id = $1 and {sees(2)} for no key update"  # noqa: S608 - as above
GET = f"select * from treadle.cron {LAST} where cron_id = $1 and {sees(2, 'cron')}"  # noqa: S608 - as above
DELETE = f"delete from treadle.cron where cron_id = $1 and {sees(2)} returning cron_id"  # noqa: S608 - as above
MATCHES = f"""
 where ($1::uuid is null or assistant_id = $1) and ($2::uuid is null or thread_id = $2)
   and ($3::text is null or metadata @> $3::jsonb) and ($4::boolean is null or enabled = $4) and {sees(5)}
"""
# The newest ticks of one page are looked up, not those of all crons that match.
SEARCH = """
select * from (select * from treadle.cron {matches}
                order by {column} {order} nulls last, cron_id limit $7 offset $8) cron {last}
 order by {column} {order} nulls last, cron_id
"""
COUNT = "select count(*) from treadle.cron {matches}"


class CronFields(msgspec.Struct, frozen=True, kw_only=True):
    """What of a cron can change."""

    schedule: str
    timezone: str | None
    end_time: datetime | None
    enabled: bool
    on_run_completed: Literal["delete", "keep"] | None
    payload: dict[str, Any]
    metadata: dict[str, Any]
    next_run_date: datetime | None
    on_missed: OnMissed = "once"


class CronFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which crons: of an assistant, of a thread, with these metadata among theirs, enabled or not."""

    assistant_id: UUID | None = None
    thread_id: UUID | None = None
    metadata: dict[str, Any] | None = None
    enabled: bool | None = None

    @property
    def parameters(self) -> tuple[UUID | None, UUID | None, str | None, bool | None]:
        metadata = json.jsonb_text(json.encode(self.metadata)) if self.metadata else None
        return self.assistant_id, self.thread_id, metadata, self.enabled


class Crons:
    """The crons in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        tenant: str,
        cron_id: UUID,
        assistant_id: UUID,
        thread_id: UUID | None,
        fields: CronFields,
        asking: dict[str, Any] | None = None,
    ) -> CronWithTick | None:
        """Make a cron; None when its assistant or its thread is gone.

        Args:
            asking: what is known of the user for whom its runs are made.
        """
        try:
            row = await self._pool.fetchrow(
                CREATE,
                cron_id,
                assistant_id,
                thread_id,
                fields.schedule,
                fields.timezone,
                fields.end_time,
                fields.enabled,
                fields.on_run_completed,
                json.text(fields.payload),
                json.jsonb_text(json.encode(fields.metadata)),
                fields.next_run_date,
                fields.on_missed,
                tenant,
                None if asking is None else json.text(asking),
            )
        except asyncpg.ForeignKeyViolationError:
            return None
        return _with_tick(row)

    async def get(self, scope: Scope, cron_id: UUID) -> CronWithTick | None:
        return _with_tick(await self._pool.fetchrow(GET, cron_id, *scope))

    async def delete(self, scope: Scope, cron_id: UUID) -> bool:
        """Remove a cron; False when there is none. Runs that it made go on."""
        return await self._pool.fetchval(DELETE, cron_id, *scope) is not None

    async def search(
        self,
        scope: Scope,
        wanted: CronFilter,
        limit: int,
        offset: int,
        *,
        sort_by: SortBy = "created_at",
        sort_order: SortOrder = "desc",
    ) -> list[CronWithTick]:
        """Crons, newest first unless sorted otherwise."""
        statement = SEARCH.format(matches=MATCHES, last=LAST, column=sort_by, order=sort_order)
        rows = await self._pool.fetch(statement, *wanted.parameters, *scope, limit, offset)
        return [read(CronWithTick, row) for row in rows]

    async def count(self, scope: Scope, wanted: CronFilter) -> int:
        return await self._pool.fetchval(COUNT.format(matches=MATCHES), *wanted.parameters, *scope)

    async def clock(self) -> datetime:
        """The database's clock, by which crons are due."""
        return await clock(self._pool)


async def lock_cron(connection: Connection, scope: Scope, cron_id: UUID) -> Cron | None:
    """Read a cron that nobody else can change, or find due, until the caller's transaction ends."""
    row = await connection.fetchrow(LOCK, cron_id, *scope)
    return None if row is None else read(Cron, row)


async def replace_cron(
    connection: Connection, cron_id: UUID, fields: CronFields, asking: dict[str, Any] | None = None
) -> CronWithTick:
    """Change a cron that the caller has locked; its runs are made for whoever has changed what they do."""
    [row] = await connection.fetch(
        REPLACE,
        cron_id,
        fields.schedule,
        fields.timezone,
        fields.end_time,
        fields.enabled,
        fields.on_run_completed,
        json.text(fields.payload),
        json.jsonb_text(json.encode(fields.metadata)),
        fields.next_run_date,
        fields.on_missed,
        None if asking is None else json.text(asking),
    )
    return read(CronWithTick, row)


def _with_tick(row: Row | None) -> CronWithTick | None:
    return None if row is None else read(CronWithTick, row)
