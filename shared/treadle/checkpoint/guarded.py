"""A checkpointer of the user's own, asked to write only while the run's attempt is the newest.

The check comes before the write and is not one with it, as it is in Postgres: a worker that is paused between the two
can still write when another one has taken over. What it writes then is one checkpoint that the next run may start from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

from treadle.checkpoint.order import stay_above
from treadle.checkpoint.partial_writes import without_partial_writes
from treadle.db.checkpoint_rows import Put

Check = Callable[[], Awaitable[None]]


class GuardedSaver(BaseCheckpointSaver[Any]):
    """Passes everything on but partial writes, and checks before each write.

    Args:
        check: raises Fenced when the attempt may not write any more.
        loop: where `check` runs.
    """

    def __init__(
        self, inner: BaseCheckpointSaver[Any], check: Check, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        super().__init__(serde=inner.serde)
        self._inner = inner
        self._check = check
        self._loop = loop or asyncio.get_running_loop()

    async def written(self) -> None:
        """Nothing is under way: what was put is written."""

    async def done_is_written(self) -> None:
        """It is: nothing waits."""

    def take(self) -> list[Put]:
        """Nothing: this is no part of the database that has the outcome."""
        return []

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return _passed(await self._inner.aget_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - as the interface has it
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        async for found in self._inner.alist(config, filter=filter, before=before, limit=limit):
            yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        await self._check()
        return await self._inner.aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._check()
        await self._inner.aput_writes(config, without_partial_writes(writes), task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._check()
        await self._inner.adelete_thread(thread_id)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        return await self._inner.aget_delta_channel_history(config=config, channels=channels)

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self._inner.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> GuardedSaver:
        return GuardedSaver(self._inner.with_allowlist(extra_allowlist), self._check, self._loop)

    # Subgraphs that synchronous nodes invoke come here, in threads of their own.

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return _passed(self._inner.get_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - as the interface has it
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        return self._inner.list(config, filter=filter, before=before, limit=limit)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        self._check_from_thread()
        return self._inner.put(config, checkpoint, metadata, new_versions)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._check_from_thread()
        self._inner.put_writes(config, without_partial_writes(writes), task_id, task_path)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        return self._inner.get_delta_channel_history(config=config, channels=channels)

    def _check_from_thread(self) -> None:
        async def check() -> None:
            await self._check()

        asyncio.run_coroutine_threadsafe(check(), self._loop).result()


def _passed(found: CheckpointTuple | None) -> CheckpointTuple | None:
    if found is not None:
        stay_above(found.checkpoint["id"])
    return found
