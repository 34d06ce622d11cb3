"""Langgraph's saver, reading over asyncpg: one statement for a checkpoint or a page of them, and no thread for what is small.

The stock saver has one lock for all its reads, and hands each checkpoint that it decodes to a thread and back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, get_checkpoint_id, writes_sort_key
from langgraph.checkpoint.serde.base import SerializerProtocol

from treadle import json
from treadle.checkpoint.encryption import coded
from treadle.checkpoint.order import OrderedSaver, stay_above
from treadle.checkpoint.pool import ConnectionPool
from treadle.db.pool import Connection, Pool, postgres_errors
from treadle.db.rows import Row

# Older ones keep their pending sends with their parent, which the stock saver knows how to find.
WITH_SENDS = 4

_FOUND = """
select c.thread_id, c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.checkpoint, c.metadata,
       (select array_agg((b.channel, b.type, b.blob))
          from jsonb_each_text(c.checkpoint -> 'channel_versions') v
          join checkpoint_blobs b on b.thread_id = c.thread_id and b.checkpoint_ns = c.checkpoint_ns
                                 and b.channel = v.key and b.version = v.value
         where b.type <> 'empty') as blobs,
       (select array_agg((w.task_id, w.channel, w.type, w.blob, w.task_path, w.idx))
          from checkpoint_writes w
         where w.thread_id = c.thread_id and w.checkpoint_ns = c.checkpoint_ns
           and w.checkpoint_id = c.checkpoint_id) as writes
"""
NEWEST = f"""
{_FOUND}, c.checkpoint_id as newest
  from checkpoints c where c.thread_id = $1 and c.checkpoint_ns = $2 order by c.checkpoint_id desc limit 1
"""
# With the newest id of the thread besides.
NAMED = f"""
{_FOUND}, (select max(checkpoint_id) from checkpoints where thread_id = $1 and checkpoint_ns = $2) as newest
  from checkpoints c where c.thread_id = $1 and c.checkpoint_ns = $2 and c.checkpoint_id = $3
"""  # noqa: S608 - put together from constants
LISTED = f"{_FOUND} from checkpoints c where {{where}} order by c.checkpoint_id desc limit $1"


class DirectSaver(OrderedSaver):
    """The saver for whatever is not inside of a transaction of psycopg's.

    Args:
        checkpoints: for all that is done as the stock saver does it.
        pool: for what is read here.
        serde: makes values of bytes; None: langgraph's own.
    """

    def __init__(
        self, checkpoints: ConnectionPool, pool: Pool | Connection, serde: SerializerProtocol | None = None
    ) -> None:
        super().__init__(checkpoints, serde=serde)
        self._pool = pool

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that a config names, or the newest one."""
        place = _place(config)
        thread_id, ns, checkpoint_id = (
            place["thread_id"],
            place.get("checkpoint_ns", ""),
            get_checkpoint_id(config),
        )
        with postgres_errors(self.doing):
            if checkpoint_id:
                row = await self._pool.fetchrow(NAMED, str(thread_id), ns, checkpoint_id)
            else:
                row = await self._pool.fetchrow(NEWEST, str(thread_id), ns)
        if row is None:
            return None
        if _is_old(row):
            return await super().aget_tuple(config)
        stay_above(row["newest"])
        return await coded(self.serde, lambda: self._tuple(row))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - as the interface has it
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, newest first."""
        statement, values = _search(config, filter, before)
        with postgres_errors(self.doing):
            rows = await self._pool.fetch(statement, limit, *values)
        if any(map(_is_old, rows)):
            async for found in super().alist(config, filter=filter, before=before, limit=limit):
                yield found
            return
        for row in rows:
            yield await coded(self.serde, partial(self._tuple, row))

    def _tuple(self, row: Row) -> CheckpointTuple:
        load = self.serde.loads_typed
        checkpoint: Checkpoint = row["checkpoint"]
        blobs: list[tuple[str, str, bytes]] = row["blobs"] or []
        writes: list[tuple[str, str, str, bytes, str, int]] = row["writes"] or []
        apart = {channel: load((kind, value)) for channel, kind, value in blobs}
        parent = row["parent_checkpoint_id"]
        return CheckpointTuple(
            _config(row, row["checkpoint_id"]),
            {**checkpoint, "channel_values": {**(checkpoint.get("channel_values") or {}), **apart}},
            row["metadata"],
            _config(row, parent) if parent else None,
            [
                (task_id, channel, load((kind, value)))
                for task_id, channel, kind, value, _, _ in sorted(writes, key=_order)
            ],
        )


def _order(write: tuple[str, str, str, bytes, str, int]) -> tuple[str, str, int]:
    return writes_sort_key(write[4], write[0], write[5])


def _place(config: RunnableConfig) -> dict[str, Any]:
    return cast("dict[str, Any]", config)["configurable"]


def _search(
    config: RunnableConfig | None, metadata: dict[str, Any] | None, before: RunnableConfig | None
) -> tuple[str, list[Any]]:
    """The statement for a page, and what it takes after the limit; with only what is asked for, so that it has a plan of its own."""
    wanted: dict[str, Any] = {}
    if config:
        place = _place(config)
        wanted["c.thread_id = ${}"] = str(place["thread_id"])
        wanted["c.checkpoint_ns = ${}"] = place.get("checkpoint_ns")
        wanted["c.checkpoint_id = ${}"] = get_checkpoint_id(config)
    wanted["c.metadata @> ${}"] = json.encode(metadata).decode() if metadata else None
    wanted["c.checkpoint_id < ${}"] = get_checkpoint_id(before) if before else None
    wanted = {condition: value for condition, value in wanted.items() if value is not None}
    where = [condition.format(number) for number, condition in enumerate(wanted, 2)]
    return LISTED.format(where=" and ".join(where) or "true"), list(wanted.values())


def _is_old(row: Row) -> bool:
    return row["checkpoint"]["v"] < WITH_SENDS and bool(row["parent_checkpoint_id"])


def _config(row: Row, checkpoint_id: str) -> RunnableConfig:
    return {
        "configurable": {
            "thread_id": row["thread_id"],
            "checkpoint_ns": row["checkpoint_ns"],
            "checkpoint_id": checkpoint_id,
        }
    }
