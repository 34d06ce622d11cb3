"""What a round came to, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, cast

import msgspec

from tests.chaos.audit import RunHistory
from tests.chaos.evidence import Evidence, Violation
from tests.chaos.record import Asked

# Which broken promises count as what.
LOST = ("accepted runs exist", "each run ends once")
DOUBLED = (
    "each request makes one run",
    "no step begins twice in an attempt",
    "committed steps do not run again",
)
OUT_OF_ORDER = (
    "threads run in order",
    "seq is the order in which clients were answered",
    "no two runs of a thread overlap",
)
# Fields that count by name.
COUNTED = ("kinds", "faults", "missed")


class Figures(msgspec.Struct, kw_only=True):
    """Of one round, or of several together. Times in seconds."""

    rounds: int = 1
    accepted: int = 0
    """Requests for a run that clients were told yes to; `kinds`: what for, and cancels besides."""
    kinds: dict[str, int] = {}
    executed: int = 0
    """Runs that had an attempt."""
    resumed: int = 0
    """Runs that had more than one."""
    rolled_back: int = 0
    lost: int = 0
    doubled: int = 0
    out_of_order: int = 0
    other_violations: int = 0
    streams: int = 0
    reconnects: int = 0
    """Connections of streams after their first."""
    zombie_marks: int = 0
    """Marks of attempts that were over while their process did not know it."""
    longest_recovery_secs: float = 0.0
    """From the end of a worker, or its freezing, to the next attempt of a run that it had."""
    secs: float = 0.0
    faults: dict[str, int] = {}
    """How often each fault hit something."""
    missed: dict[str, int] = {}
    """How often each struck where nobody was."""

    @property
    def toothless(self) -> list[str]:
        """Faults that never hit anything."""
        return sorted(set(self.missed) - set(self.faults))

    @property
    def violations(self) -> int:
        return self.lost + self.doubled + self.out_of_order + self.other_violations

    def and_(self, other: Figures) -> Figures:
        """Both together."""
        sums: dict[str, Any] = {
            field: getattr(self, field) + getattr(other, field)
            for field in self.__struct_fields__
            if field not in (*COUNTED, "longest_recovery_secs")
        }
        longest = max(self.longest_recovery_secs, other.longest_recovery_secs)
        counts = {field: _added(getattr(self, field), getattr(other, field)) for field in COUNTED}
        return Figures(**sums, **cast("dict[str, Any]", counts), longest_recovery_secs=longest)


def _added(counts: dict[str, int], others: dict[str, int]) -> dict[str, int]:
    return dict(Counter(counts) + Counter(others))


def figures_of(evidence: Evidence, broken: Sequence[Violation], secs: float) -> Figures:
    runs = evidence.runs.values()
    checks = Counter(violation.check for violation in broken)
    lost, doubled, mixed = (sum(checks[name] for name in names) for names in (LOST, DOUBLED, OUT_OF_ORDER))
    accepted = [asked for asked in evidence.record.asked if asked.outcome in ("accepted", "stored")]
    cancels = [f"cancelled: {each.action}" for each in evidence.record.cancelled if each.accepted]
    return Figures(
        accepted=len(accepted),
        kinds=dict(Counter([*map(_kind, accepted), *cancels])),
        executed=sum(bool(run.claims) for run in runs),
        resumed=sum(len(run.claims) > 1 for run in runs),
        rolled_back=sum(run.rolled_back for run in runs),
        lost=lost,
        doubled=doubled,
        out_of_order=mixed,
        other_violations=len(broken) - lost - doubled - mixed,
        streams=len(evidence.record.followed),
        reconnects=sum(max(0, followed.connections - 1) for followed in evidence.record.followed),
        zombie_marks=sum(evidence.zombie(mark) for mark in evidence.marks),
        longest_recovery_secs=max(_recoveries(evidence), default=0.0),
        secs=secs,
        faults=dict(Counter(struck.name for struck in evidence.struck if struck.hit)),
        missed=dict(Counter(struck.name for struck in evidence.struck if not struck.hit)),
    )


def _kind(asked: Asked) -> str:
    if asked.work is None:
        return "answer"
    return f"create: {asked.strategy}" if asked.how == "create" else asked.how


def _recoveries(evidence: Evidence) -> Iterator[float]:
    ends = {death.service.pid: death.at for death in evidence.deaths}
    ends |= {freeze.pid: freeze.since for freeze in evidence.freezes}
    for run in evidence.runs.values():
        for before, lease in zip(run.leases, run.leases[1:], strict=False):
            gone = ends.get(before.pid)
            if gone is not None and before.at < gone < lease.at and _was_on(run, gone):
                yield (lease.at - gone).total_seconds()


def _was_on(run: RunHistory, moment: datetime) -> bool:
    before = [change for change in run.changes if change.at <= moment]
    return bool(before) and before[-1].status == "running"
