"""What is said to Postgres about the checkpoints of whole threads. The tables are langgraph's own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from treadle.db.pool import Pool
from treadle.db.rows import read
from treadle.db.scope import Scope, sees
from treadle.model import Thread, Ttl

# A thread with all its checkpoints under a new id. One statement sees one moment: runs of the source may go on. The
# copy has no runs, so it rests as its source does.
COPY = f"""
with source as (
    select * from treadle.thread where thread_id = $1 and gone_at is null and {sees(5)}
), copied_checkpoints as (
    insert into checkpoints
        (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
    select $2::uuid::text, c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.type, c.checkpoint,
           case when c.metadata ? 'thread_id' then c.metadata || jsonb_build_object('thread_id', $2::uuid::text)
                else c.metadata end
      from checkpoints c join source s on c.thread_id = s.thread_id::text
), copied_blobs as (
    insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    select $2::uuid::text, b.checkpoint_ns, b.channel, b.version, b.type, b.blob
      from checkpoint_blobs b join source s on b.thread_id = s.thread_id::text
), copied_writes as (
    insert into checkpoint_writes
        (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
    select $2::uuid::text, w.checkpoint_ns, w.checkpoint_id, w.task_id, w.task_path, w.idx, w.channel, w.type, w.blob
      from checkpoint_writes w join source s on w.thread_id = s.thread_id::text
)
insert into treadle.thread
    (thread_id, status, resting, metadata, "values", interrupts, error, ttl_strategy, ttl_minutes, tenant, owner)
select $2::uuid, resting, resting, metadata, "values", interrupts, error, $3, $4, tenant, owner from source
returning *
"""  # noqa: S608 - put together from constants
# Bytes as they are stored, that is compressed where Postgres does.
STORAGE = f"""
select (select row(count(*), coalesce(sum(pg_column_size(checkpoint) + pg_column_size(metadata)), 0))
          from checkpoints where thread_id = $1::uuid::text) as checkpoints,
       (select row(count(*), coalesce(sum(coalesce(pg_column_size(blob), 0)), 0))
          from checkpoint_writes where thread_id = $1::uuid::text) as pending_writes,
       array(select row(channel, count(*), coalesce(sum(coalesce(pg_column_size(blob), 0)), 0))
               from checkpoint_blobs where thread_id = $1::uuid::text group by channel order by channel) as channels
  from treadle.thread where thread_id = $1 and gone_at is null and {sees(2)}
"""  # noqa: S608 - put together from constants


class Stored(msgspec.Struct, frozen=True):
    """How many there are, and the bytes that they take."""

    count: int
    bytes: int


class Storage(msgspec.Struct, frozen=True):
    """What a thread's checkpoints take. Values of channels are counted by their versions."""

    checkpoints: Stored
    pending_writes: Stored
    channels: dict[str, Stored]


class Checkpoints:
    """The checkpoints in Postgres, thread by thread."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def copy(self, scope: Scope, source: UUID, target: UUID, ttl: Ttl | None) -> Thread | None:
        """Copy a thread with all its checkpoints; None when there is no such thread."""
        lifetime = (None, None) if ttl is None else (ttl.strategy, ttl.minutes)
        row = await self._pool.fetchrow(COPY, source, target, *lifetime, *scope)
        return None if row is None else read(Thread, row)

    async def storage(self, scope: Scope, thread_id: UUID) -> Storage | None:
        """What a thread's checkpoints take; None when there is no such thread."""
        row: Any = await self._pool.fetchrow(STORAGE, thread_id, *scope)
        if row is None:
            return None
        return Storage(
            checkpoints=_stored(*row["checkpoints"]),
            pending_writes=_stored(*row["pending_writes"]),
            channels={channel: _stored(count, size) for channel, count, size in row["channels"]},
        )


def _stored(count: int, size: Any) -> Stored:
    return Stored(count, int(size))
