"""langgraph's snapshots of a thread's state, as the protocol shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langgraph.types import Interrupt, PregelTask, StateSnapshot

from treadle_api.views.states import StateView

POINTER = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")


def state_view(snapshot: StateSnapshot) -> StateView:
    """One state, with those of its subgraphs inside where they were asked for."""
    checkpoint, parent = _pointer(snapshot.config), _pointer(snapshot.parent_config)
    return StateView(
        values=snapshot.values if snapshot.values is not None else {},
        next=list(snapshot.next),
        tasks=[_task(task) for task in snapshot.tasks],
        metadata=_metadata(snapshot),
        created_at=snapshot.created_at,
        checkpoint=checkpoint,
        parent_checkpoint=parent,
        interrupts=[_interrupt(interrupt) for interrupt in snapshot.interrupts],
        checkpoint_id=None if checkpoint is None else checkpoint["checkpoint_id"],
        parent_checkpoint_id=None if parent is None else parent["checkpoint_id"],
    )


def empty_state() -> StateView:
    """The state of a thread on which nothing has run."""
    return StateView({}, [], [], None, None, None, None, [], None, None)


def _metadata(snapshot: StateSnapshot) -> dict[str, Any] | None:
    """With the thread, which savers keep in a column instead."""
    if snapshot.metadata is None:
        return None
    return {**snapshot.metadata, "thread_id": _configurable(snapshot.config)["thread_id"]}


def _task(task: PregelTask) -> dict[str, Any]:
    state = task.state
    nested = state if isinstance(state, StateSnapshot) else None
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": task.error if task.error is None or isinstance(task.error, str) else repr(task.error),
        "interrupts": [_interrupt(interrupt) for interrupt in task.interrupts],
        "checkpoint": None if state is None or nested is not None else dict(_configurable(state)),
        "state": None if nested is None else state_view(nested),
        "result": task.result,
    }


def _interrupt(interrupt: Interrupt) -> dict[str, Any]:
    return {"id": interrupt.id, "value": interrupt.value}


def _pointer(config: Any) -> dict[str, Any] | None:
    """Where a checkpoint is; None for the place before the first one."""
    if config is None:
        return None
    configurable = _configurable(config)
    if not configurable.get("checkpoint_id"):
        return None
    return {name: configurable[name] for name in POINTER if name in configurable}


def _configurable(config: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", cast("Mapping[str, Any]", config).get("configurable") or {})
