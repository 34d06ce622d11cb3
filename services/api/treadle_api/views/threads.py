"""Threads, as clients get them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from treadle.model import Thread
from treadle.wire.moments import moment

MOMENTS = ("created_at", "updated_at", "state_updated_at")


class TtlView(Struct):
    """How long the thread is kept, and until when; `expires_at` null: nothing happens to it as it is."""

    strategy: str
    ttl_minutes: float
    expires_at: str | None


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
    ttl: TtlView | UnsetType = UNSET


class FoundThread(Struct):
    """What was asked for of a thread that a search has found."""

    thread_id: UUID | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    updated_at: str | UnsetType = UNSET
    state_updated_at: str | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    status: str | UnsetType = UNSET
    config: dict[str, Any] | UnsetType = UNSET
    values: Any = UNSET
    error: Any = UNSET
    interrupts: dict[str, Any] | UnsetType = UNSET
    extracted: dict[str, Any] | UnsetType = UNSET


class Pruned(Struct):
    """How many threads were pruned."""

    pruned_count: int


def thread_view(thread: Thread, *, with_ttl: bool = False) -> ThreadView:
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
        ttl=_ttl(thread) if with_ttl else UNSET,
    )


def _ttl(thread: Thread) -> TtlView | UnsetType:
    if thread.ttl_strategy is None or thread.ttl_minutes is None:
        return UNSET
    end = None if thread.expires_at is None else moment(thread.expires_at)
    return TtlView(thread.ttl_strategy, thread.ttl_minutes, end)


def found_thread(found: Mapping[str, Any]) -> FoundThread:
    """A thread from the columns that were read of it."""
    return FoundThread(**{name: _shown(name, value) for name, value in found.items()})


def _shown(name: str, value: Any) -> Any:
    return moment(value) if name in MOMENTS else value
