"""What becomes of a webhook after an attempt: delivered, tried again, or given up."""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from treadle.webhooks.sender import Answer

LONGEST_PAUSE_SECS = 3600.0
# Request timeout, conflict, locked, too early, too many requests: another time may be better.
PASSING = frozenset({408, 409, 423, 425, 429})

Verdict = Literal["delivered", "retry", "refused", "failed"]


class Retries(msgspec.Struct, frozen=True):
    """How often, and for how long, a webhook is tried."""

    most_attempts: int
    longest_secs: float
    first_pause_secs: float

    def judge(self, answer: Answer, attempts: int, age_secs: float) -> tuple[Verdict, float | None]:
        """The verdict on an attempt, and for `retry` the seconds until the next one.

        Args:
            attempts: how many there were, with this one.
            age_secs: since the run ended.
        """
        if answer.status is not None and 200 <= answer.status < 300:
            return "delivered", None
        if answer.refused:
            return "refused", None
        pause = max(self._pause(attempts), answer.retry_after or 0.0)
        if _final(answer.status) or attempts >= self.most_attempts or age_secs + pause > self.longest_secs:
            return "failed", None
        return "retry", pause

    def _pause(self, attempts: int) -> float:
        """Twice as long each time, and between half of that and all of it, so that many do not come at once."""
        whole = min(self.first_pause_secs * 2.0 ** min(attempts - 1, 64), LONGEST_PAUSE_SECS)
        return whole * random.uniform(0.5, 1.0)  # noqa: S311 - nobody has to guess it


def _final(status: int | None) -> bool:
    """Whether the receiver has understood and will not change its mind: a redirection, or an error of ours."""
    return status is not None and 300 <= status < 500 and status not in PASSING
