"""States of threads, as clients ask for and change them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from treadle.wire.runs import Checkpoint
from treadle_api.bodies.fields import Limit


class StateUpdate(Struct, kw_only=True):
    """New values, as if the node `as_node` had returned them."""

    values: dict[str, Any] | list[Any] | None = None
    as_node: str | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None


class StateAt(Struct, kw_only=True):
    checkpoint: Checkpoint
    subgraphs: bool | None = None
    select: list[str] | None = None


class Before(Struct, kw_only=True):
    """A checkpoint, as a config names it or plainly."""

    configurable: Checkpoint | None = None
    checkpoint_id: str | None = None


class HistoryQuery(Struct, kw_only=True):
    limit: Limit | None = None
    before: str | Before | None = None
    metadata: dict[str, Any] | None = None
    checkpoint: Checkpoint | None = None
    select: list[str] | None = None
