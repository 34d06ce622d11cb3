"""How fast wake-ups are taken, and so how many may lie ready: enough to find work while more is being published, and no more.

Whoever comes has what lies ready before it.
"""

from __future__ import annotations

import time

# What is taken in so long may lie ready.
AHEAD_SECS = 0.1
# At least so long between two looks that tell how fast that is.
LOOK_SECS = 0.2


class Pace:
    """Told now and then how many were taken in all."""

    def __init__(self) -> None:
        self._taken = 0
        self._at = time.monotonic()
        self._per_sec = 0.0

    def ahead(self, taken: int) -> int:
        """How many may lie ready, when so many were taken by now; at least one."""
        now = time.monotonic()
        if taken < self._taken:  # whoever counts has begun anew
            self._taken, self._at = taken, now
        elif now - self._at >= LOOK_SECS:
            self._per_sec = (taken - self._taken) / (now - self._at)
            self._taken, self._at = taken, now
        return max(1, round(self._per_sec * AHEAD_SECS))
