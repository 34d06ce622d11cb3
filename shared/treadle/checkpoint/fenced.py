"""A checkpointer whose every write is refused once its run belongs to a newer attempt, or has ended.

The check and the write are one statement (`writing.py`).

While Postgres is away the graph waits here, for as long as its worker holds the run: what its nodes have done is not done
again for a server that restarts. A write whose answer was lost is written again, which changes nothing.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import (
    _DeltaSnapshot,  # pyright: ignore[reportPrivateUsage]
)
from langgraph.constants import START

from treadle import json
from treadle.checkpoint import writing
from treadle.checkpoint.direct import DirectSaver
from treadle.checkpoint.encryption import coded, sealed
from treadle.checkpoint.lane import Lane
from treadle.checkpoint.partial_writes import without_partial_writes
from treadle.checkpoint.pool import ConnectionPool
from treadle.checkpoint.reaching import persisting
from treadle.checkpoint.writing import Attempt, Special
from treadle.db.checkpoint_rows import Blob, NewCheckpoint, Put, Write
from treadle.db.pool import Connection, Pool, postgres_errors
from treadle.errors import Fenced, NotSerializable
from treadle.telemetry import conventions
from treadle.telemetry.tracing import Tracing

_NO_SPAN = nullcontext()
# langgraph's path of a graph's first task, which only passes the input on: what it did is no loss.
_PASSES_INPUT_ON = f"~__pregel_pull, {START}"
# What langgraph's serialiser raises for a value that it cannot encode: ormsgpack's own error is a TypeError.
ENCODE_ERRORS = (TypeError, ValueError, AttributeError, RecursionError)


@dataclass
class _Done:
    """What nodes have done, to all clones of a saver: langgraph makes them where LANGGRAPH_STRICT_MSGPACK is set.

    Attributes:
        unasked: a node has come to its end since that was asked last. Without one there is nothing that a crash would repeat.
    """

    unasked: bool = False


class FencedSaver(DirectSaver):
    """The stock saver with its writes fenced by one attempt of one run. Tables and format are the stock ones.

    Args:
        pool: what is written goes over it, and what is read of single checkpoints.
        observe: is told the seconds that each statement took which writes.
        tracing: makes a span of each of them.
        holds: whether Postgres is to be waited for while it is away.
        deferred: whether checkpoints and writes may be committed a little later than their methods return, in their order;
            `written` waits for them. What asks a question, answers one, or fails a task never is.
        serde: makes bytes of values and back; None: langgraph's own.
    """

    def __init__(
        self,
        checkpoints: ConnectionPool,
        pool: Pool | Connection,
        run_id: UUID,
        attempt: int,
        observe: Callable[[float], None] = lambda seconds: None,
        tracing: Tracing | None = None,
        holds: Callable[[], bool] = lambda: False,
        *,
        deferred: bool = False,
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(checkpoints, pool, serde)
        self.doing = f"run {run_id} was on"
        self._attempt = Attempt(run_id, attempt)
        self._observe = observe
        self._tracing = tracing or Tracing()
        self._holds = holds
        self._deferred = deferred
        self._done = _Done()
        # What takes a while to encrypt keeps its place in the order. It is free wherever that takes no wait.
        self._coding = asyncio.Lock()
        self._lane: Lane[Put | Special] = Lane(self._write, name=f"checkpoints-{run_id}")

    async def written(self) -> None:
        """Wait until all that was put is committed.

        Raises:
            Fenced: the run belongs to a newer attempt, or has ended.
            Unavailable: Postgres is away, and not to be waited for.
        """
        async with self._coding:
            pass
        await self._lane.written()

    async def done_is_written(self) -> None:
        """Wait until all that nodes have done is committed: somebody is about to see what comes after it. Raises as `written`."""
        if self._done.unasked:
            self._done.unasked = False
            await self.written()

    def take(self) -> list[Put]:
        """What waits to be written, for whoever writes it with the outcome; nothing, if that may not be put off."""
        return cast("list[Put]", self._lane.take()) if self._deferred else []

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that a config names, or the newest one."""
        await self.written()
        return await persisting(lambda: super(FencedSaver, self).aget_tuple(config), self._holds)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - as the interface has it
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, newest first."""
        await self.written()
        async for found in super().alist(config, filter=filter, before=before, limit=limit):
            yield found

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What channels are made of that keep only their changes."""
        await self.written()
        return await super().aget_delta_channel_history(config=config, channels=channels)

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
        checkpoint, new_versions = sealed(self.serde, checkpoint, new_versions)
        inline, apart = _split(checkpoint["channel_values"])
        versions: ChannelVersions = {
            name: str(version) for name, version in new_versions.items() if name in apart
        }
        new = NewCheckpoint(
            thread_id,
            ns,
            checkpoint["id"],
            configurable.get("checkpoint_id"),
            json.jsonb_text(json.encode({**checkpoint, "channel_values": inline})),
            json.jsonb_text(json.encode(get_serializable_checkpoint_metadata(config, metadata))),
        )
        await self._add(lambda: Put(thread_id, [new], self._blobs(thread_id, ns, apart, versions)))
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
        configurable = cast("dict[str, Any]", config).get("configurable", {})
        thread_id, ns = str(configurable["thread_id"]), str(configurable.get("checkpoint_ns", ""))
        place = (thread_id, ns, configurable["checkpoint_id"], task_id, task_path)
        if task_path != _PASSES_INPUT_ON:
            self._done.unasked = True
        kept = without_partial_writes(writes)

        def rows() -> list[Write]:
            return [
                Write(*place, WRITES_IDX_MAP.get(channel, number), channel, *dumped)
                for number, (channel, dumped) in enumerate(self._dumped(kept))
            ]

        await self._add(lambda: writing.of_task(thread_id, task_id, rows()))

    def _blobs(
        self, thread_id: str, ns: str, values: dict[str, Any], versions: ChannelVersions
    ) -> list[Blob]:
        if not versions:
            return []
        try:
            return [Blob(*row) for row in self._dump_blobs(thread_id, ns, values, versions)]
        except ENCODE_ERRORS as error:
            raise self._refused(values.items(), error) from error

    def _dumped(self, writes: Sequence[tuple[str, Any]]) -> list[tuple[str, tuple[str, bytes]]]:
        try:
            return [(channel, self.serde.dumps_typed(value)) for channel, value in writes]
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

    async def _add(self, make: Callable[[], Put | Special]) -> None:
        async with self._coding:
            item = await coded(self.serde, make)
            self._lane.add(item)
        if not self._deferred or isinstance(item, Special):
            await self._lane.written()

    async def _write(self, items: Sequence[Put | Special]) -> int:
        """Write the first of them, and what can go with it."""
        if isinstance(special := items[0], Special):
            await self._fenced([special], lambda: writing.replace(self._pool, self._attempt, special))
            return 1
        puts = [cast(Put, item) for item in takewhile(lambda item: isinstance(item, Put), items)]
        await self._fenced(puts, lambda: writing.put(self._pool, self._attempt, puts))
        return len(puts)

    async def _fenced(self, items: Sequence[Put | Special], write: Callable[[], Awaitable[bool]]) -> None:
        with self._span(items):
            passed = await persisting(lambda: self._observed(write), self._holds)
        if not passed:
            run_id, attempt = self._attempt
            raise Fenced(
                f"a checkpoint of run {run_id} was refused: attempt {attempt} is not its newest any more, or the run has "
                "ended."
            )

    async def _observed(self, write: Callable[[], Awaitable[bool]]) -> bool:
        started = time.perf_counter()
        with postgres_errors(self.doing):
            passed = await write()
        self._observe(time.perf_counter() - started)
        return passed

    def _span(self, items: Sequence[Put | Special]) -> AbstractContextManager[object]:
        if not self._tracing.enabled:
            return _NO_SPAN
        checkpoints = any(isinstance(item, Put) and item.checkpoints for item in items)
        name = "put_checkpoint" if checkpoints else "put_writes"
        return self._tracing.span(*conventions.checkpoint(name, items[0].thread_id, rows=len(items)))


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
