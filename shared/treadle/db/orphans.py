"""Checkpoints in a checkpointer of the user's own that are to be removed: their run or thread is gone.

Triggers note them in the transaction that removes the run or the thread, from wherever it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from treadle.db.pool import Connection, Pool
from treadle.db.rows import read
from treadle.model import Record

# Whether triggers have anything to note.
NOTE = "insert into treadle.custom_checkpointer default values on conflict do nothing"
DO_NOT_NOTE = "delete from treadle.custom_checkpointer"
# Whoever comes second waits here, and finds none.
LOCK = "select id, run_id from treadle.orphan where thread_id = $1 order by id for update"
REMOVE = "delete from treadle.orphan where id = any($1)"
THREADS = "select thread_id from treadle.orphan group by thread_id order by min(id) limit $1"


class Orphan(Record, frozen=True):
    """`run_id` null: all checkpoints of the thread."""

    id: int
    run_id: UUID | None


async def note_orphans(pool: Pool, *, wanted: bool) -> None:
    """Say whether a checkpointer of the user's own is in use."""
    await pool.execute(NOTE if wanted else DO_NOT_NOTE)


async def orphans_of(connection: Connection, thread_id: UUID) -> list[Orphan]:
    """What is to be removed of a thread, locked until the caller's transaction ends."""
    return [read(Orphan, row) for row in await connection.fetch(LOCK, thread_id)]


async def remove(connection: Connection, orphans: Sequence[Orphan]) -> None:
    await connection.execute(REMOVE, [orphan.id for orphan in orphans])


async def threads_with_orphans(pool: Pool, limit: int) -> list[UUID]:
    return [row[0] for row in await pool.fetch(THREADS, limit)]
