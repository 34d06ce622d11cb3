"""What a check finds."""

from __future__ import annotations

from typing import NamedTuple


class Found(NamedTuple):
    what: str
    run_id: str | None = None
    thread_id: str | None = None
