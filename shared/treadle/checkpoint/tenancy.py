"""A run's checkpointer as its graph may use it: nothing of another tenant is there, whatever thread id it is asked for.

A graph has its run's checkpointer in its config, and can name any thread. Three kinds of ids there are:

- a thread of the run's tenant, the run's own among them: it is what it is;
- any other id, that of another tenant's thread or a name that the graph made up (a child graph's memory by user): it is a
  name within the tenant, and what is kept under it begins with the tenant. The graph sees the id that it asked for.

Invariant: no two tenants, and no two ids of one, come to the same key, and no such key is a thread's: the ids of threads have
no `/`, and neither has a tenant's token, which ends at the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, TypeVar, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

from treadle.checkpoint.fenced import FencedSaver
from treadle.checkpoint.guarded import GuardedSaver
from treadle.db.checkpoint_rows import Put
from treadle.escaping import token_of
from treadle.model import Run

T = TypeVar("T")

THREAD = "thread_id"


def key_within(tenant: str, name: str) -> str:
    """Under which thread id a tenant's checkpoints are kept that are no thread's."""
    return f"{token_of(tenant)}/{name}"


class TenantSaver(BaseCheckpointSaver[Any]):
    """Passes everything on, under the key of the thread that is asked for.

    What is of all threads is not there: a list without a thread is of the run's own.

    Args:
        inner: has the checkpoints of all tenants.
        belongs: whether a thread is there and of the run's tenant.
        loop: where `belongs` runs.
    """

    def __init__(
        self,
        inner: FencedSaver | GuardedSaver,
        run: Run,
        belongs: Callable[[UUID], Awaitable[bool]],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(serde=inner.serde)
        self._inner = inner
        self._run = run
        self._own = str(run.thread_id)
        self._belongs = belongs
        self._loop = loop or asyncio.get_running_loop()

    async def written(self) -> None:
        """Wait until all that was put is committed. Raises as `FencedSaver.written`."""
        await self._inner.written()

    async def done_is_written(self) -> None:
        """Wait until all that nodes have done is committed. Raises as `FencedSaver.written`."""
        await self._inner.done_is_written()

    def take(self) -> list[Put]:
        """What waits to be written, for whoever writes it with the outcome."""
        return self._inner.take()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = await self._inner.aget_tuple(await self._inside(config))
        return None if found is None else _seen(found, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - as the interface has it
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        wanted = self._wanted(config)
        inside = await self._inside(wanted)
        async for found in self._inner.alist(inside, filter=filter, before=before, limit=limit):
            yield _seen(found, wanted)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        put = await self._inner.aput(await self._inside(config), checkpoint, metadata, new_versions)
        return _under(put, _thread(config))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._inner.aput_writes(await self._inside(config), writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._inner.adelete_thread(await self._key(thread_id))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        inside = await self._inside(config)
        return await self._inner.aget_delta_channel_history(config=inside, channels=channels)

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self._inner.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> TenantSaver:
        inner = cast("FencedSaver | GuardedSaver", self._inner.with_allowlist(extra_allowlist))
        return TenantSaver(inner, self._run, self._belongs, self._loop)

    # Subgraphs that synchronous nodes invoke come here, in threads of their own.

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = self._inner.get_tuple(self._inside_from_thread(config))
        return None if found is None else _seen(found, config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - as the interface has it
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        wanted = self._wanted(config)
        inside = self._inside_from_thread(wanted)
        for found in self._inner.list(inside, filter=filter, before=before, limit=limit):
            yield _seen(found, wanted)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        put = self._inner.put(self._inside_from_thread(config), checkpoint, metadata, new_versions)
        return _under(put, _thread(config))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._inner.put_writes(self._inside_from_thread(config), writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        self._inner.delete_thread(self._on_loop(self._key(thread_id)))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        inside = self._inside_from_thread(config)
        return self._inner.get_delta_channel_history(config=inside, channels=channels)

    def _wanted(self, config: RunnableConfig | None) -> RunnableConfig:
        return {"configurable": {THREAD: self._own}} if config is None else config

    async def _inside(self, config: RunnableConfig) -> RunnableConfig:
        """The config by which the inner saver knows what is asked for."""
        asked = _thread(config)
        return config if asked == self._own else _under(config, await self._key(asked))

    def _inside_from_thread(self, config: RunnableConfig) -> RunnableConfig:
        return config if _thread(config) == self._own else self._on_loop(self._inside(config))

    async def _key(self, asked: str) -> str:
        if asked == self._own:
            return asked
        thread_id = _thread_id(asked)
        if thread_id is not None and await self._belongs(thread_id):
            return asked
        return key_within(self._run.tenant, asked)

    def _on_loop(self, finding: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(finding, self._loop).result()


def _thread(config: RunnableConfig) -> str:
    return str(cast("dict[str, Any]", config)["configurable"][THREAD])


def _thread_id(text: str) -> UUID | None:
    """None: no thread is kept under this text, be it another way to write an id."""
    try:
        thread_id = UUID(text)
    except ValueError:
        return None
    return thread_id if str(thread_id) == text else None


def _under(config: RunnableConfig, thread: str) -> RunnableConfig:
    configurable = cast("dict[str, Any]", config)["configurable"]
    return {**config, "configurable": {**configurable, THREAD: thread}}


def _seen(found: CheckpointTuple, asked: RunnableConfig) -> CheckpointTuple:
    """A checkpoint under the id that was asked for."""
    if _thread(found.config) == (thread := _thread(asked)):
        return found
    parent = found.parent_config
    return found._replace(
        config=_under(found.config, thread),
        parent_config=None if parent is None else _under(parent, thread),
    )
