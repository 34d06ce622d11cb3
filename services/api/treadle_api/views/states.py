"""States of threads, as clients get them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


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
