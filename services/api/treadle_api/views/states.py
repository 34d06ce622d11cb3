"""States of threads, as clients get them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, UnsetType


class UpdatedState(Struct):
    """The checkpoint that an update made, three times over, as clients of different ages read it."""

    checkpoint: dict[str, Any]
    configurable: dict[str, Any]
    checkpoint_id: str


class StateView(Struct):
    """A thread's state at one checkpoint; what was not selected is left out."""

    values: Any
    next: list[str] | UnsetType
    tasks: list[dict[str, Any]] | UnsetType
    metadata: dict[str, Any] | UnsetType | None
    created_at: str | UnsetType | None
    checkpoint: dict[str, Any] | UnsetType | None
    parent_checkpoint: dict[str, Any] | UnsetType | None
    interrupts: list[dict[str, Any]] | UnsetType
    checkpoint_id: str | UnsetType | None
    parent_checkpoint_id: str | UnsetType | None
