"""Runs, as clients get them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from msgspec import Struct

from treadle.model import Run
from treadle_api.views.moments import moment

# Kept with a run for Treadle's own use.
PRIVATE_KWARGS = frozenset({"trace"})


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
        kwargs={name: value for name, value in run.kwargs.items() if name not in PRIVATE_KWARGS},
        multitask_strategy=run.multitask_strategy.value,
        created_at=moment(run.created_at),
        updated_at=moment(run.updated_at),
    )
