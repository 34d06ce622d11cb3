"""Threads, as clients ask for them."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct


class NewThread(Struct, kw_only=True):
    thread_id: str | None = None
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None


class ThreadPatch(Struct, kw_only=True):
    metadata: dict[str, Any] | None = None
