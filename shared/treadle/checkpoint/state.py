"""A thread's state as the API shows it."""

from __future__ import annotations

import logging
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.types import StateSnapshot

from treadle.errors import Unavailable
from treadle.graphs.loader import Graph

log = logging.getLogger(__name__)


async def readable_state(graph: Graph, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
    """The state at a config's checkpoint, the newest one unless it names one, even where the graph's own code fails.

    What a failed run left may be refused by the state's reducers or its pydantic model, which langgraph calls to
    read it. Then the last checkpoint is shown, without what was on its way into the next one; and if the model refuses
    that as well, what the checkpoint holds, with nothing that comes next.
    """
    try:
        return await graph.aget_state(config, subgraphs=subgraphs)
    except Unavailable:
        raise
    except Exception:
        saved = await cast("BaseCheckpointSaver[Any]", graph.checkpointer).aget_tuple(config)
        if saved is None:
            raise
    try:
        # With its id, a checkpoint is read alone; without, together with the pending writes.
        return await graph.aget_state(saved.config, subgraphs=subgraphs)
    except Unavailable:
        raise
    except Exception as error:
        log.info("the graph %s refuses its own checkpoint: %r", graph.name, error, exc_info=error)
        return as_kept(graph, saved)


async def readable_history(
    graph: Graph,
    config: RunnableConfig,
    *,
    filter: dict[str, Any] | None,  # noqa: A002 - langgraph's word
    before: RunnableConfig | None,
    limit: int,
) -> list[StateSnapshot]:
    """The states of a thread, newest first, among them those over which the graph's own code fails."""
    wanted: dict[str, Any] = {"filter": filter, "before": before, "limit": limit}
    try:
        return [snapshot async for snapshot in graph.aget_state_history(config, **wanted)]
    except Unavailable:
        raise
    except Exception as error:
        log.info("the graph %s cannot put a history together: %r", graph.name, error, exc_info=error)
        saver = cast("BaseCheckpointSaver[Any]", graph.checkpointer)
        kept = [saved async for saved in saver.alist(config, **wanted)]
        return [await readable_state(graph, saved.config) for saved in kept]


def as_kept(graph: Graph, saved: CheckpointTuple) -> StateSnapshot:
    """A checkpoint with none of the graph's code run over it."""
    kept, channels = saved.checkpoint["channel_values"], graph.stream_channels_asis
    names = [channels] if isinstance(channels, str) else channels
    return StateSnapshot(
        values={name: kept[name] for name in names if name in kept},
        next=(),
        config=saved.config,
        metadata=saved.metadata,
        created_at=saved.checkpoint["ts"],
        parent_config=saved.parent_config,
        tasks=(),
        interrupts=(),
    )


def interrupts_of(snapshot: StateSnapshot) -> dict[str, list[dict[str, Any]]]:
    """The interrupts that wait for an answer, by the id of the task that raised them."""
    return {
        task.id: [{"id": interrupt.id, "value": interrupt.value} for interrupt in task.interrupts]
        for task in snapshot.tasks
        if task.interrupts
    }
