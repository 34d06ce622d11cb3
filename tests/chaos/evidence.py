"""All that is known of a round when it is over: what the clients, the database, the witness and the servers say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from tests.chaos.audit import History, RunHistory
from tests.chaos.record import Asked, Record
from tests.chaos.site import Death, Freeze
from tests.chaos.witness import Mark


@dataclass(frozen=True)
class ThreadState:
    """A thread as the API shows it at rest: `values` and `status` of the thread, `kept` and `next` of its state."""

    status: str
    values: Mapping[str, Any]
    kept: Mapping[str, Any]
    next: Sequence[str]


@dataclass(frozen=True)
class Streamed:
    """One event of a run as Redis keeps it."""

    attempt: int
    n: int
    event: str
    data: Any

    @property
    def id(self) -> str:
        return f"{self.attempt}-{self.n}"


@dataclass(frozen=True)
class Published:
    """A lifecycle event as NATS keeps it."""

    run_id: str
    thread_id: str
    attempt: int
    status: str


@dataclass(frozen=True)
class Struck:
    """A fault, and when it was on."""

    name: str
    since: datetime
    until: datetime


@dataclass
class Evidence:
    record: Record
    history: History
    marks: list[Mark]
    states: dict[str, ThreadState]
    streams: dict[str, list[Streamed]]
    """By run; runs of which Redis has nothing are missing."""
    published: list[Published] | None
    """None: NATS has lost its data in this round."""
    left: dict[str, list[str]]
    """What should not be there any more, by what it is."""
    struck: list[Struck]
    deaths: list[Death]
    freezes: list[Freeze]
    logs: dict[str, list[str]]
    """By service and pid."""
    restless: str
    """Why the round did not come to rest; empty when it did."""
    redis_touched: bool
    """Redis, or the way to it, was not always there: events may be missing."""
    redis_lost: bool
    """Redis has forgotten what it kept."""
    problems: list[str] = field(default_factory=list[str])

    @property
    def runs(self) -> Mapping[str, RunHistory]:
        return self.history.runs

    @cached_property
    def asked(self) -> Mapping[str, Asked]:
        return self.record.by_label()

    @cached_property
    def marks_of(self) -> Mapping[str, list[Mark]]:
        """By run."""
        found: dict[str, list[Mark]] = defaultdict(list)
        for mark in self.marks:
            found[mark.run_id].append(mark)
        return found

    def zombie(self, mark: Mark) -> bool:
        """Whether its attempt was over by then: the process had not learned of it."""
        run = self.runs.get(mark.run_id)
        over = None if run is None else run.over(mark.attempt)
        return over is not None and over < mark.at

    def held_up(self, pid: int) -> Iterator[tuple[datetime, datetime]]:
        """When a process could not know anything: it was stopped, or a node held its loop."""
        yield from ((freeze.since, freeze.until) for freeze in self.freezes if freeze.pid == pid)
        began: datetime | None = None
        for mark in self.marks:
            if mark.pid == pid and mark.what == "block":
                began = mark.at
            elif mark.pid == pid and mark.what == "unblock" and began is not None:
                yield began, mark.at
                began = None


@dataclass(frozen=True)
class Violation:
    """A promise that was broken, and by which run or on which thread."""

    check: str
    what: str
    run_id: str | None = None
    thread_id: str | None = None
