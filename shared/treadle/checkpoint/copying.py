"""Copies a thread's checkpoints within a checkpointer of the user's own."""

from __future__ import annotations

from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointMetadata, CheckpointTuple


async def copy_thread(saver: BaseCheckpointSaver[Any], source: str, target: str) -> None:
    """Copy all checkpoints with their pending writes, by the checkpointer's own method if it has one."""
    try:
        await saver.acopy_thread(source, target)
    except NotImplementedError:
        found = [each async for each in saver.alist({"configurable": {"thread_id": source}})]
        for each in sorted(found, key=lambda found: found.checkpoint["id"]):
            await _copy(saver, each, target)


async def _copy(saver: BaseCheckpointSaver[Any], found: CheckpointTuple, target: str) -> None:
    namespace = found.config.get("configurable", {}).get("checkpoint_ns", "")
    place: dict[str, Any] = {"thread_id": target, "checkpoint_ns": namespace}
    if found.parent_config is not None:
        place["checkpoint_id"] = found.parent_config.get("configurable", {}).get("checkpoint_id")
    metadata = cast("dict[str, Any]", dict(found.metadata or {}))
    if "thread_id" in metadata:
        metadata["thread_id"] = target
    written = await saver.aput(
        cast(RunnableConfig, {"configurable": place}),
        found.checkpoint,
        cast(CheckpointMetadata, metadata),
        found.checkpoint["channel_versions"],
    )
    writes: dict[str, list[tuple[str, Any]]] = {}
    for task_id, channel, value in found.pending_writes or ():
        writes.setdefault(task_id, []).append((channel, value))
    for task_id, of_task in writes.items():
        await saver.aput_writes(written, of_task, task_id)
