"""How long to wait before a process that died is started again."""

from __future__ import annotations

FIRST_SECS = 0.5
LONGEST_SECS = 10.0
SETTLED_SECS = 30.0


class Backoff:
    """Doubles from death to death, and starts anew after a life of 30 s."""

    def __init__(self, first: float = FIRST_SECS) -> None:
        self._first = first
        self._next = first

    def after(self, alive: float) -> float:
        """Seconds to wait after a life of `alive` seconds."""
        delay = self._first if alive >= SETTLED_SECS else self._next
        self._next = min(delay * 2, LONGEST_SECS)
        return delay

    def reset(self) -> None:
        self._next = self._first
