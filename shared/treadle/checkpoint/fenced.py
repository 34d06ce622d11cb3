"""A checkpointer whose every write is refused once its run belongs to a newer attempt, or has ended.

The check and the write are one statement. The check locks the run's row FOR SHARE: a takeover updates that row, so it
either commits before (the check sees the newer attempt and nothing is written) or waits until this write has
committed (and the new attempt reads it). A bare EXISTS would let a takeover commit between the two.
Heartbeats touch another table, and never wait for this lock.

While Postgres is away the graph waits here, for as long as its worker holds the run: what its nodes have done is not done
again for a server that restarts. A write whose answer was lost is written again, which changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, LiteralString, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.types import (
    RESUME,
    _DeltaSnapshot,  # pyright: ignore[reportPrivateUsage]
)
from psycopg.types.json import Jsonb

from treadle.checkpoint.order import OrderedSaver
from treadle.checkpoint.partial_writes import without_partial_writes
from treadle.checkpoint.pool import ConnectionPool
from treadle.checkpoint.reaching import persisting
from treadle.db.runs import WAITING_ANSWER
from treadle.errors import Fenced, NotSerializable
from treadle.telemetry import conventions
from treadle.telemetry.tracing import Tracing

_NO_SPAN = nullcontext()
# What langgraph's serialiser raises for a value that it cannot encode: ormsgpack's own error is a TypeError.
ENCODE_ERRORS = (TypeError, ValueError, AttributeError, RecursionError)

_FENCE = """
fence as materialized (
    select 1 from treadle.run
     where run_id = %(run_id)s and attempt = %(attempt)s and status = 'running' for share
)
"""

PUT_CHECKPOINT = f"""
with {_FENCE},
blobs as (
    insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    select %(thread_id)s, %(ns)s, b.channel, b.version, b.type, b.blob
      from fence, unnest(%(channels)s::text[], %(versions)s::text[], %(types)s::text[], %(blobs)b::bytea[])
           as b (channel, version, type, blob)
    on conflict (thread_id, checkpoint_ns, channel, version) do nothing
)
insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
select %(thread_id)s, %(ns)s, %(checkpoint_id)s, %(parent_id)s, %(checkpoint)s, %(metadata)s from fence
on conflict (thread_id, checkpoint_ns, checkpoint_id)
do update set checkpoint = excluded.checkpoint, metadata = excluded.metadata
returning 1
"""  # noqa: S608 - put together from constants

# What other runs have left there, put aside for the rollback of this one.
_REPLACED = """
replaced as (
    insert into treadle.replaced_write
        (by_run, thread_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel, type, blob, treadle_run_id)
    select %(run_id)s, w.thread_id, w.checkpoint_ns, w.checkpoint_id, w.task_id, w.idx, w.task_path, w.channel, w.type,
           w.blob, w.treadle_run_id
      from fence, checkpoint_writes w
     where w.thread_id = %(thread_id)s and w.checkpoint_ns = %(ns)s and w.checkpoint_id = %(checkpoint_id)s
       and w.task_id = %(task_id)s and w.idx = any(%(idxs)s::int[]) and w.treadle_run_id is distinct from %(run_id)s
    on conflict do nothing
),
"""
_INSERT_WRITES = """
written as (
    insert into checkpoint_writes
        (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob, treadle_run_id)
    select %(thread_id)s, %(ns)s, %(checkpoint_id)s, %(task_id)s, %(task_path)s,
           w.idx, w.channel, w.type, w.blob, %(run_id)s
      from fence, unnest(%(idxs)s::int[], %(channels)s::text[], %(types)s::text[], %(blobs)b::bytea[])
           as w (idx, channel, type, blob)
    on conflict (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) do
"""
_AND_CHECK = ") select 1 from fence"
PUT_WRITES = f"with {_FENCE}, {_INSERT_WRITES} nothing {_AND_CHECK}"
_OR_REPLACE = """
    update set channel = excluded.channel, type = excluded.type, blob = excluded.blob,
               treadle_run_id = excluded.treadle_run_id
"""
REPLACE_WRITES = f"with {_FENCE}, {_REPLACED} {_INSERT_WRITES} {_OR_REPLACE} {_AND_CHECK}"
# An answer without an id waits under a task of its own. langgraph leaves it there when a task has taken it and asks again: an
# attempt that goes on after that, without input, would give it to the second question.
_NO_LONGER_WAITING = f"""
taken as (
    delete from checkpoint_writes w using fence
     where w.thread_id = %(thread_id)s and w.task_id = '{WAITING_ANSWER}' and w.channel = '{RESUME}'
       and w.treadle_run_id = %(run_id)s
),
"""  # noqa: S608 - put together from constants
TAKE_ANSWER = f"with {_FENCE}, {_REPLACED} {_NO_LONGER_WAITING} {_INSERT_WRITES} {_OR_REPLACE} {_AND_CHECK}"


def _statement(writes: Sequence[tuple[str, Any]], task_id: str) -> LiteralString:
    channels = {channel for channel, _ in writes}
    if not channels <= WRITES_IDX_MAP.keys():
        return PUT_WRITES
    return TAKE_ANSWER if RESUME in channels and task_id != WAITING_ANSWER else REPLACE_WRITES


class FencedSaver(OrderedSaver):
    """The stock saver with its writes fenced by one attempt of one run. Tables and format are the stock ones.

    Args:
        observe: is told the seconds that each write took.
        tracing: makes a span of each write.
        holds: whether Postgres is to be waited for while it is away.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        run_id: UUID,
        attempt: int,
        observe: Callable[[float], None] = lambda seconds: None,
        tracing: Tracing | None = None,
        holds: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(pool)
        self.doing = f"run {run_id} was on"
        self._fence = {"run_id": run_id, "attempt": attempt}
        self._observe = observe
        self._tracing = tracing or Tracing()
        self._holds = holds

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that a config names, or the newest one."""
        return await persisting(lambda: super(FencedSaver, self).aget_tuple(config), self._holds)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint.

        Raises:
            Fenced: the run belongs to a newer attempt, or has ended; nothing was written.
        """
        configurable = cast("dict[str, Any]", config).get("configurable", {})
        thread_id, ns = str(configurable["thread_id"]), str(configurable.get("checkpoint_ns", ""))
        inline, apart = _split(checkpoint["channel_values"])
        versions = {name: version for name, version in new_versions.items() if name in apart}
        blobs = self._dump_blobs(thread_id, ns, apart, versions) if versions else []
        await self._write(
            "put_checkpoint",
            PUT_CHECKPOINT,
            thread_id=thread_id,
            ns=ns,
            checkpoint_id=checkpoint["id"],
            parent_id=configurable.get("checkpoint_id"),
            checkpoint=Jsonb({**checkpoint, "channel_values": inline}),
            metadata=Jsonb(get_serializable_checkpoint_metadata(config, metadata)),
            channels=[row[2] for row in blobs],
            versions=[row[3] for row in blobs],
            types=[row[4] for row in blobs],
            blobs=[row[5] for row in blobs],
        )
        return {
            "configurable": {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint["id"]}
        }

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save the pending writes of a task; of one that did not come to its end, only why.

        Raises:
            Fenced: the run belongs to a newer attempt, or has ended; nothing was written.
        """
        writes = without_partial_writes(writes)
        configurable = cast("dict[str, Any]", config).get("configurable", {})
        thread_id, ns = str(configurable["thread_id"]), str(configurable.get("checkpoint_ns", ""))
        rows = self._dump_writes(thread_id, ns, configurable["checkpoint_id"], task_id, task_path, writes)
        await self._write(
            "put_writes",
            _statement(writes, task_id),
            thread_id=thread_id,
            ns=ns,
            checkpoint_id=configurable["checkpoint_id"],
            task_id=task_id,
            task_path=task_path,
            idxs=[row[5] for row in rows],
            channels=[row[6] for row in rows],
            types=[row[7] for row in rows],
            blobs=[row[8] for row in rows],
        )

    def _dump_blobs(
        self, thread_id: str, checkpoint_ns: str, values: dict[str, Any], versions: ChannelVersions
    ) -> list[tuple[str, str, str, str, str, bytes | None]]:
        try:
            return super()._dump_blobs(thread_id, checkpoint_ns, values, versions)
        except ENCODE_ERRORS as error:
            raise self._refused(values.items(), error) from error

    def _dump_writes(
        self,
        thread_id: str,
        checkpoint_ns: str,
        checkpoint_id: str,
        task_id: str,
        task_path: str,
        writes: Sequence[tuple[str, Any]],
    ) -> list[tuple[str, str, str, str, str, int, str, str, bytes]]:
        try:
            return super()._dump_writes(thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, writes)
        except ENCODE_ERRORS as error:
            raise self._refused(writes, error) from error

    def _refused(self, values: Iterable[tuple[str, Any]], error: Exception) -> NotSerializable:
        """Names the channels that cannot be kept, found by trying each of them again."""
        odd = [
            f"{name!r} holds a {type(value).__qualname__}" for name, value in values if not self._keeps(value)
        ]
        return NotSerializable(
            f"the state cannot be kept: {' and '.join(f'channel {each}' for each in odd) or 'a channel'} that no "
            f"checkpoint can hold ({error}). Keep such objects out of the state: make them inside the node, or annotate "
            "the channel with langgraph's UntrackedValue, which is not kept."
        )

    def _keeps(self, value: Any) -> bool:
        try:
            self.serde.dumps_typed(value)
        except ENCODE_ERRORS:
            return False
        return True

    async def _write(self, name: str, statement: LiteralString, **values: Any) -> None:
        with self._span(name, values["thread_id"]):
            passed = await persisting(lambda: self._passes(statement, values), self._holds)
        if not passed:
            raise Fenced(
                f"a checkpoint of run {self._fence['run_id']} was refused: attempt {self._fence['attempt']} is not "
                "its newest any more, or the run has ended."
            )

    def _span(self, name: str, thread_id: str) -> AbstractContextManager[object]:
        if not self._tracing.enabled:
            return _NO_SPAN
        return self._tracing.span(*conventions.checkpoint(name, thread_id))

    async def _passes(self, statement: LiteralString, values: dict[str, Any]) -> bool:
        """Execute a write; whether the fence let it through."""
        started = time.perf_counter()
        async with self._cursor() as cursor:
            await cursor.execute(statement, {**values, **self._fence})
            passed = await cursor.fetchone() is not None
        self._observe(time.perf_counter() - started)
        return passed


def _split(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Channel values as the stock saver lays them out: (in the checkpoint's own JSON, in the blobs table).

    What jsonb cannot hold goes to the blobs too; readers look in both places.
    """
    inline: dict[str, Any] = {}
    apart: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, _DeltaSnapshot):
            inline[name] = True
            apart[name] = value
        elif _fits_jsonb(value):
            inline[name] = value
        else:
            apart[name] = value
    return inline, apart


def _fits_jsonb(value: Any) -> bool:
    """Whether it is a plain value, and neither text with a NUL nor a number without an end."""
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int)
