"""Threads, as clients get them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from msgspec import Struct

from treadle.model import Thread
from treadle_api.views.moments import moment


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
