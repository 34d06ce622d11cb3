"""What the clients did and saw: their side of the truth."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from tests.chaos.work import Work


@dataclass
class Asked:
    """One request for a run, under a label of its own, which its run carries in its metadata.

    `outcome`: `perhaps` when the answer was lost; `stored` when NATS has it and must make a run of it.
    """

    label: str
    thread_id: str
    work: Work | None
    """None: it answers a question."""
    how: str
    strategy: str
    sent_at: datetime
    outcome: Literal["perhaps", "accepted", "stored", "refused"] = "perhaps"
    answered_at: datetime | None = None
    run_id: str | None = None
    problem: str = ""


@dataclass
class Cancelled:
    """A request to cancel; `accepted`: it was answered with yes; `refused`: with no."""

    run_id: str
    action: str
    sent_at: datetime
    answered_at: datetime | None = None
    accepted: bool = False
    refused: bool = False
    problem: str = ""


@dataclass
class Followed:
    """What a client read of a run's stream, over all its connections: (id, event, data)."""

    run_id: str
    parts: list[tuple[str, str, Any]] = field(default_factory=list[tuple[str, str, Any]])
    connections: int = 0
    at: str = ""
    """The address from which it is being read; empty between two connections."""
    ended: bool = False
    problems: list[str] = field(default_factory=list[str])

    @property
    def last_id(self) -> str | None:
        return self.parts[-1][0] if self.parts else None


@dataclass
class Record:
    asked: list[Asked] = field(default_factory=list[Asked])
    cancelled: list[Cancelled] = field(default_factory=list[Cancelled])
    followed: list[Followed] = field(default_factory=list[Followed])
    problems: list[str] = field(default_factory=list[str])
    """What a client could not do although it tried for long."""

    def by_label(self) -> dict[str, Asked]:
        return {asked.label: asked for asked in self.asked}

    def open_at(self, url: str) -> int:
        """How many streams are being read from there now."""
        return sum(followed.at == url for followed in self.followed)

    def cancels_of(self) -> dict[str, list[Cancelled]]:
        found: dict[str, list[Cancelled]] = defaultdict(list)
        for cancelled in self.cancelled:
            found[cancelled.run_id].append(cancelled)
        return found
