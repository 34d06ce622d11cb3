"""What clients get, typed: domain values as the protocol shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from treadle.model import Assistant, Run, Thread

# Kept with a run for Treadle's own use.
PRIVATE_KWARGS = frozenset({"trace"})


class AssistantView(Struct):
    assistant_id: UUID
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    name: str
    created_at: str
    updated_at: str
    version: int
    description: str | None


class ThreadView(Struct):
    thread_id: UUID
    created_at: str
    updated_at: str
    state_updated_at: str
    metadata: dict[str, Any]
    status: str
    config: dict[str, Any]
    values: Any
    error: Any
    interrupts: dict[str, Any]


class RunView(Struct):
    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    metadata: dict[str, Any]
    status: str
    kwargs: dict[str, Any]
    multitask_strategy: str
    created_at: str
    updated_at: str


class Info(Struct):
    """What this server is, and which parts of the protocol it serves."""

    version: str
    langgraph_py_version: str
    flags: dict[str, bool]


class Health(Struct):
    ok: bool
    services: dict[str, str]


class UpdatedState(Struct):
    """The checkpoint that an update made, three times over, as clients of different ages read it."""

    checkpoint: dict[str, Any]
    configurable: dict[str, Any]
    checkpoint_id: str


class StateView(Struct):
    """A thread's state at one checkpoint."""

    values: Any
    next: list[str]
    tasks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    created_at: str | None
    checkpoint: dict[str, Any] | None
    parent_checkpoint: dict[str, Any] | None
    interrupts: list[dict[str, Any]]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None


def assistant_view(assistant: Assistant) -> AssistantView:
    return AssistantView(
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        config=assistant.config,
        context=assistant.context,
        metadata=assistant.metadata,
        name=assistant.name,
        created_at=moment(assistant.created_at),
        updated_at=moment(assistant.updated_at),
        version=assistant.version,
        description=assistant.description,
    )


def thread_view(thread: Thread) -> ThreadView:
    return ThreadView(
        thread_id=thread.thread_id,
        created_at=moment(thread.created_at),
        updated_at=moment(thread.updated_at),
        state_updated_at=moment(thread.state_updated_at),
        metadata=thread.metadata,
        status=thread.status,
        config=thread.config,
        values=thread.values,
        error=thread.error,
        interrupts=thread.interrupts,
    )


def run_view(run: Run) -> RunView:
    return RunView(
        run_id=run.run_id,
        thread_id=run.thread_id,
        assistant_id=run.assistant_id,
        metadata=run.metadata,
        status=run.status.value,
        kwargs={name: value for name, value in run.kwargs.items() if name not in PRIVATE_KWARGS},
        multitask_strategy=run.multitask_strategy.value,
        created_at=moment(run.created_at),
        updated_at=moment(run.updated_at),
    )


def moment(at: datetime) -> str:
    """ISO 8601 with the offset spelt out, as the protocol's clients have always got it."""
    return at.isoformat()
