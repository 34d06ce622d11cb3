"""How an attempt can come to its end, and what those who watch its run are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from treadle.db.runs import Outcome
from treadle.streaming import EventWriter

# Bytes of a result that goes with the news of the end: larger ones are read by those who want them.
MOST_TOLD = 16 * 1024


@dataclass(frozen=True)
class Ended:
    """The run is over, and this is its outcome."""

    outcome: Outcome


@dataclass(frozen=True)
class HandedBack:
    """The run is to go on elsewhere, with no attempt used up; `times`: in a row, since something that it needs was away."""

    times: int = 0


@dataclass(frozen=True)
class Lost:
    """Another attempt has the run, or nobody knows: nothing may be written for it any more."""


@dataclass(frozen=True)
class Ending:
    """What is still to be told of an attempt that has come to its outcome, once that is committed."""

    writer: EventWriter
    outcome: Outcome

    def marker(self, status: str) -> dict[str, Any]:
        """What those who watch are told; those who wait for a small result need not read it from Postgres."""
        marker: dict[str, Any] = {"status": status, "resting": self.outcome.resting}
        output = self.outcome.output
        if status == self.outcome.status == "success" and output is not None and len(output) <= MOST_TOLD:
            marker["output"] = msgspec.Raw(output)
        return marker
