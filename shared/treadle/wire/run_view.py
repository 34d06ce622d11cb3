"""Runs, as clients get them, over HTTP and over NATS."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from treadle.model import Run
from treadle.wire.moments import moment
from treadle.wire.shown import shown_kwargs

RunField = Literal[
    "run_id",
    "thread_id",
    "assistant_id",
    "metadata",
    "status",
    "kwargs",
    "multitask_strategy",
    "created_at",
    "updated_at",
    "langsmith_session_name",
]


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


def run_view(run: Run) -> RunView:
    return RunView(
        run_id=run.run_id,
        thread_id=run.thread_id,
        assistant_id=run.assistant_id,
        metadata=run.metadata,
        status=run.status.value,
        kwargs=shown_kwargs(run.kwargs),
        multitask_strategy=run.multitask_strategy.value,
        created_at=moment(run.created_at),
        updated_at=moment(run.updated_at),
    )
