"""All that is known of a round when it is over: what the clients, the database, the witness and the servers say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from tests.chaos.audit import History, RunChange, RunHistory
from tests.chaos.record import Asked, Record
from tests.chaos.settings import BLOCK_SECS
from tests.chaos.site import Death, Freeze
from tests.chaos.witness import Mark

# A node that takes all memory holds it about as long (`hoard` of tests/graphs/chaos.py), and longer where a busy machine lets it wait.
HOARDING = timedelta(seconds=1)
BLOCKING = timedelta(seconds=BLOCK_SECS)
# How soon a node knows that its mark is kept, if nothing holds its process up.
ANSWERED = timedelta(seconds=1)


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
    """A fault, when it was on, and what it hit; empty: nobody was there to be hit."""

    name: str
    since: datetime
    until: datetime
    hit: str


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
    redis_lost: bool
    """Redis has forgotten what it kept."""

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
        """Whether its attempt had been ended by then, and not by the graph: its process had not learned of it.

        A worker writes `success` and `error` down when the graph has come to its end: no mark is excused after that.
        """
        ending = self._ending_before(mark)
        return ending is not None and (ending.gone or ending.status not in ("success", "error"))

    def straggler(self, mark: Mark) -> bool:
        """Whether its attempt had been ended by its own worker by then, which had stopped the graph or seen it end."""
        ending = self._ending_before(mark)
        if ending is None or ending.gone or ending.attempt != mark.attempt:
            return False
        return not ending.without_its_worker

    def _ending_before(self, mark: Mark) -> RunChange | None:
        run = self.runs.get(mark.run_id)
        ending = None if run is None else run.ending(mark.attempt)
        return ending if ending is not None and ending.at < mark.at else None

    def question(self, answer: RunHistory) -> Asked | None:
        """What an answer goes on with: the request of the run with a task of its own that began last before it."""
        begun = [
            (run.claims[0].id, asked)
            for run in self.history.threads[answer.first.thread_id]
            if run.claims
            and not run.rolled_back
            and (asked := self.asked.get(run.first.label or ""))
            and asked.work
        ]
        before = [each for each in begun if answer.claims and each[0] < answer.claims[0].id]
        return max(before, key=lambda each: each[0])[1] if before else None

    def stops(self, run: RunHistory) -> set[str]:
        """What clients had asked for that may have ended a run: a cancel, or another run that takes its place."""
        cancels = {
            each.action
            for each in self.record.cancelled
            if each.run_id == run.first.run_id and not each.refused and each.sent_at <= run.last.at
        }
        behind = [
            other for other in self.history.threads[run.first.thread_id] if other.first.seq > run.first.seq
        ]
        asked = [self.asked[label] for other in behind if (label := other.first.label or "") in self.asked]
        strategies = {each.strategy for each in asked if each.sent_at <= run.last.at}
        return cancels | (strategies & {"interrupt", "rollback"})

    def disturbed(
        self, run: RunHistory, secs: float, words: Collection[str] = ("",), *, lasting: float = 0.0
    ) -> bool:
        """Whether a fault with one of these words in its name was on, or over for less than so long, while the run was.

        Args:
            lasting: seconds that the fault has lasted at least.
        """
        since = run.claims[0].at if run.claims else run.first.at
        until = run.last.at if run.end is None else run.end.at
        margin = timedelta(seconds=secs)
        return any(
            struck.since <= until + margin and struck.until + margin >= since
            for struck in self.struck
            if any(word in struck.name for word in words)
            and struck.until - struck.since >= timedelta(seconds=lasting)
        )

    def without_memory(self, run: RunHistory) -> bool:
        """Whether a node took all the memory of its process while the run's last attempt was on there: beside it any
        allocation may fail, also those of langgraph and of nodes."""
        return any(
            mark.what == "hoard"
            and mark.pid == run.leases[-1].pid
            and run.claims[-1].at <= self._given_back(mark)
            and mark.at <= run.last.at
            for mark in self.marks
            if run.leases
        )

    def _given_back(self, hoard: Mark) -> datetime:
        """When a process had its memory again at the latest: the node has come to its end when its attempt is over."""
        run = self.runs.get(hoard.run_id)
        over = None if run is None else run.over(hoard.attempt)
        return max(hoard.at + HOARDING, over or hoard.at)

    def held_up(self, pid: int) -> Iterator[tuple[datetime, datetime]]:
        """When a process could not know anything: it was stopped, or a node held its loop.

        A node that is to block marks that first: if its process is stopped before it learns that the mark is kept, it blocks
        when that goes on.
        """
        stopped = sorted((each.since, each.until) for each in self.freezes if each.pid == pid)
        yield from stopped
        for mark in self.marks:
            if mark.pid == pid and mark.what == "block":
                until = mark.at + BLOCKING
                for since, goes_on in stopped:
                    if since <= mark.at + ANSWERED and mark.at <= goes_on:
                        until = goes_on + BLOCKING
                yield mark.at, until


@dataclass(frozen=True)
class Violation:
    """A promise that was broken, and by which run or on which thread."""

    check: str
    what: str
    run_id: str | None = None
    thread_id: str | None = None
