"""Who answered which question of a graph, and what (migrations/0026_audit.sql). Runs that answer record it as they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from treadle import json
from treadle.db.forgetting import forget
from treadle.db.pool import Connection, Pool
from treadle.db.rows import read
from treadle.db.scope import EVERYWHERE, Scope, sees
from treadle.model import Record

WAITING = f"""
select owner, interrupts, metadata ->> 'graph_id' as graph_id from treadle.thread where thread_id = $1 and {sees(2)}
"""  # noqa: S608 - put together from constants
RECORD = """
insert into treadle.audit (action, tenant, identity, roles, permissions, thread_id, graph_id, questions, answer)
values ($1, $2, $3, $4::text::json, $5::text::json, $6, $7, $8::text::jsonb, $9::text::json)
"""
# The newest first.
LIST = """
select * from treadle.audit
 where ($1::text is null or tenant = $1) and ($2::text is null or identity = $2) and ($3::uuid is null or thread_id = $3)
   and ($4::interval is null or at > statement_timestamp() - $4)
 order by id desc limit $5
"""
FORGET = """
delete from treadle.audit where id = any(array(
    select id from treadle.audit where at < statement_timestamp() - $1::interval
     order by at limit $2 for update skip locked))
"""

Action = Literal["answered", "updated", "refused"]


class Waiting(msgspec.Struct, frozen=True):
    """What is asked on a thread: by task, `id` and `value` of each question."""

    owner: str | None
    interrupts: Mapping[str, Sequence[dict[str, Any]]]
    graph_id: str | None

    @property
    def graphs(self) -> Sequence[str]:
        """The graph whose questions they are, if one is known."""
        return [] if self.graph_id is None else [self.graph_id]


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as somebody gave it, whether it was taken or not."""

    tenant: str
    identity: str | None
    roles: Sequence[str]
    permissions: Sequence[str]
    thread_id: UUID
    graph_id: str | None
    questions: Mapping[str, Any]
    answer: Any


class Audited(Record, frozen=True, kw_only=True):
    """One record. `run_id` None: no run was made."""

    id: int
    at: datetime
    action: Action
    tenant: str
    identity: str | None
    roles: list[str] | str | None
    permissions: list[str] | None
    thread_id: UUID
    run_id: UUID | None
    graph_id: str | None
    questions: dict[str, Any]
    answer: Any


class AuditRows:
    """The records in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def waiting(self, scope: Scope, thread_id: UUID) -> Waiting | None:
        """What is asked on a thread; None: there is none within the scope."""
        return await waiting(self._pool, scope, thread_id)

    async def of_thread(self, thread_id: UUID) -> Waiting:
        """The same of a thread that a run is on."""
        return await waiting(self._pool, EVERYWHERE, thread_id) or Waiting(None, {}, None)

    async def refused(self, given: Given) -> None:
        """Record an answer that was not taken."""
        await record(self._pool, "refused", given)

    async def all(
        self,
        tenant: str | None,
        identity: str | None,
        thread_id: UUID | None,
        age: timedelta | None,
        limit: int,
    ) -> list[Audited]:
        """Records, the newest first; of one tenant, user or thread, and no older than `age`, where these are given."""
        rows = await self._pool.fetch(LIST, tenant, identity, thread_id, age, limit)
        return [read(Audited, row) for row in rows]

    async def forget(self, keep_secs: float, limit: int) -> int:
        """Remove records older than that; returns how many."""
        return await forget(self._pool, FORGET, keep_secs, limit)


async def waiting(where: Pool | Connection, scope: Scope, thread_id: UUID) -> Waiting | None:
    """What is asked on a thread; None: there is none within the scope."""
    row = await where.fetchrow(WAITING, thread_id, *scope)
    return None if row is None else Waiting(row["owner"], row["interrupts"], row["graph_id"])


async def record(where: Pool | Connection, action: Action, what: Given) -> None:
    """Write a record; in a transaction, with all that happens in it or not at all."""
    await where.execute(
        RECORD,
        action,
        what.tenant,
        what.identity,
        json.text(what.roles),
        json.text(what.permissions),
        what.thread_id,
        what.graph_id,
        json.jsonb_text(json.encode(what.questions)),
        json.text(what.answer),
    )
