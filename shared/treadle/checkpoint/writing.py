"""What an attempt writes among the checkpoints, and the statements that write it: each with the fence inside.

The fence locks the run's row FOR SHARE: a takeover updates that row, so it either commits before (the fence sees the newer
attempt and nothing is written) or waits until this write has committed (and the new attempt reads it). A bare EXISTS would
let a takeover commit between the check and the write. Heartbeats touch another table, and never wait for this lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString, NamedTuple
from uuid import UUID

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.types import RESUME

from treadle.db.checkpoint_rows import COLUMNS, Put, Write, columns, columns_of, numbered
from treadle.db.pool import Connection, Pool
from treadle.db.runs import WAITING_ANSWER

_FENCE = """
fence as materialized (
    select 1 from treadle.run where run_id = $1 and attempt = $2 and status = 'running' for share
)
"""
_INTO_WRITES = """
insert into checkpoint_writes
    (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob, treadle_run_id)
"""
_ON_CONFLICT = "on conflict (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) do"

# Checkpoints, their values, and the writes of tasks, in any number.
PUT = f"select treadle.write_checkpoints($1, $2, {numbered(3, COLUMNS)})"

# What other runs have left there, put aside for the rollback of this one.
_REPLACED = """
replaced as (
    insert into treadle.replaced_write
        (by_run, thread_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel, type, blob, treadle_run_id)
    select $1, w.thread_id, w.checkpoint_ns, w.checkpoint_id, w.task_id, w.idx, w.task_path, w.channel, w.type,
           w.blob, w.treadle_run_id
      from fence, checkpoint_writes w
     where w.thread_id = $3 and w.checkpoint_ns = $4 and w.checkpoint_id = $5
       and w.task_id = $6 and w.idx = any($8::int[]) and w.treadle_run_id is distinct from $1
    on conflict do nothing
),
"""
_OR_REPLACE = f"""
written as (
    {_INTO_WRITES}
    select $3, $4, $5, $6, $7, w.*, $1 from fence, unnest($8::int[], $9::text[], $10::text[], $11::bytea[]) w
    {_ON_CONFLICT}
    update set channel = excluded.channel, type = excluded.type, blob = excluded.blob,
               treadle_run_id = excluded.treadle_run_id
)
select 1 from fence
"""  # noqa: S608 - put together from constants
REPLACE_WRITES = f"with {_FENCE}, {_REPLACED} {_OR_REPLACE}"
# An answer without an id waits under a task of its own. langgraph leaves it there when a task has taken it and asks again: an
# attempt that goes on after that, without input, would give it to the second question.
_NO_LONGER_WAITING = f"""
taken as (
    delete from checkpoint_writes w using fence
     where w.thread_id = $3 and w.task_id = '{WAITING_ANSWER}' and w.channel = '{RESUME}' and w.treadle_run_id = $1
),
"""  # noqa: S608 - put together from constants
TAKE_ANSWER = f"with {_FENCE}, {_REPLACED} {_NO_LONGER_WAITING} {_OR_REPLACE}"


class Special(NamedTuple):
    """Writes of a task that replace what is there: its error, its question, the answers that it has taken."""

    thread_id: str
    statement: LiteralString
    writes: Sequence[Write]


class Attempt(NamedTuple):
    """Whose writes they are."""

    run_id: UUID
    attempt: int


def of_task(thread_id: str, task_id: str, writes: Sequence[Write]) -> Put | Special:
    """The writes of one task, by how they are written."""
    channels = {write.channel for write in writes}
    if not writes or not channels <= WRITES_IDX_MAP.keys():
        return Put(thread_id, writes=writes)
    takes = RESUME in channels and task_id != WAITING_ANSWER
    return Special(thread_id, TAKE_ANSWER if takes else REPLACE_WRITES, writes)


async def put(where: Pool | Connection, attempt: Attempt, puts: Sequence[Put]) -> bool:
    """Write all of it in one statement; whether the fence let it through."""
    return bool(await where.fetchval(PUT, *attempt, *columns_of(puts)))


async def replace(where: Pool | Connection, attempt: Attempt, special: Special) -> bool:
    """Write it over what is there; whether the fence let it through."""
    place = special.writes[0][:5]
    rest = columns(Write, special.writes)[len(place) :]
    return await where.fetchval(special.statement, *attempt, *place, *rest) is not None
