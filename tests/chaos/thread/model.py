"""What the protocol promises of one thread, in the fewest words: the specification that Postgres is held against.

Each method is one transaction of the product. It changes the model and returns what the product must answer; what is not
said to change stays as it is. Time is in seconds since the thread was made, and passes only when somebody lets it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from uuid import UUID

from tests.chaos.thread.kept import Kept, Write

LEASE_SECS = 3600.0
MAX_CRASHES = 3
# So many crashes make a run solitary: its next attempt is its last, and is made by a process of its own.
SOLITARY = MAX_CRASHES - 1

ACTIVE = ("pending", "running")


@dataclass(frozen=True)
class ModelLease:
    """A worker's, or that of a process which is alone with this run; `died`: somebody has seen that process die."""

    worker: str
    until: float
    alone: bool = False
    died: bool = False


@dataclass
class ModelRun:
    """A run that was accepted. Its place in the list of the thread's runs is the order of acceptance."""

    run_id: UUID
    due: float
    webhook: bool = False
    answers: bool = False
    status: str = "pending"
    attempt: int = 0
    crashes: int = 0
    cancel: str | None = None
    lease: ModelLease | None = None
    error: str | None = None
    # Another run was removed while it was on: what it has read of the thread may be gone.
    outlived: bool = False

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


class Claimant(NamedTuple):
    """Who looks at the thread; `alone`: a process that is for one run only."""

    worker: str
    alone: bool


class Left(NamedTuple):
    """What a worker writes when a run comes to its end. None: the thread keeps its own."""

    status: str
    resting: str
    error: str | None
    values: Any
    interrupts: Any


class Answer(NamedTuple):
    """What claim, finish and hand_back answer: the run that was taken, and those that ended with it."""

    outcome: str
    taken: tuple[UUID, int] | None = None
    ended: tuple[tuple[UUID, str, int], ...] = ()


@dataclass
class ThreadModel:
    """A thread, its runs, and all that was told of them."""

    now: float = 0.0
    runs: list[ModelRun] = field(default_factory=list[ModelRun])
    resting: str = "idle"
    error: str | None = None
    values: Any = None
    interrupts: Any = field(default_factory=dict[str, Any])
    # Every change of a run, once, in order.
    events: list[tuple[UUID, int, str]] = field(default_factory=list[tuple[UUID, int, str]])
    webhooks: list[tuple[UUID, str]] = field(default_factory=list[tuple[UUID, str]])
    dead_letters: list[UUID] = field(default_factory=list[UUID])
    # The checkpoints, and those that each run found when it began: what they are again when it is rolled back.
    kept: Kept = field(default_factory=Kept)
    found: dict[UUID, Kept] = field(default_factory=dict[UUID, Kept])
    # What each run has written over of what others had written. (A question that is asked again stands in the same place.)
    replaced: dict[UUID, frozenset[Write]] = field(default_factory=dict[UUID, "frozenset[Write]"])
    # Whether values and status are those of the checkpoints: not so after a run that ended without its worker.
    truthful: bool = True

    # What can be seen

    @property
    def status(self) -> str:
        return "busy" if any(run.active for run in self.runs) else self.resting

    @property
    def running(self) -> ModelRun | None:
        return next((run for run in self.runs if run.status == "running"), None)

    @property
    def next(self) -> ModelRun | None:
        """One that has begun goes on before any other begins; then as accepted, those that are due."""
        due = [run for run in self.runs if run.status == "pending" and run.due <= self.now]
        return min(due, key=lambda run: run.attempt == 0, default=None)

    def find(self, run_id: UUID) -> ModelRun | None:
        return next((run for run in self.runs if run.run_id == run_id), None)

    def newest(self, run_id: UUID, attempt: int) -> ModelRun | None:
        """The run, if this attempt is on: all that is written for it is refused otherwise."""
        run = self.running
        return run if run is not None and (run.run_id, run.attempt) == (run_id, attempt) else None

    def leased(self, run: ModelRun) -> bool:
        return run.lease is not None and run.lease.until > self.now

    # What clients do

    def create(self, new: ModelRun, strategy: str) -> str:
        if strategy == "reject" and self.status == "busy":
            return "refused"
        if strategy == "enqueue" and new.answers and self._is_answered:
            return "refused"
        if strategy in ("interrupt", "rollback"):
            for run in [run for run in self.runs if run.active]:
                self._cancel(run, strategy)
        self.runs.append(new)
        self._tell(new, "pending")
        return "created"

    @property
    def _is_answered(self) -> bool:
        """Whether somebody has been quicker: two answers in a row would be for two questions, the second of them unseen."""
        return any(run.active and run.answers and run.cancel is None for run in self.runs)

    def cancel(self, run_id: UUID, action: str) -> str:
        run = self.find(run_id)
        if run is None:
            return "not_found"
        return self._cancel(run, action) if run.active else "finished"

    def _cancel(self, run: ModelRun, action: str) -> str:
        """A rollback that was accepted is not taken back by an interrupt after it."""
        run.cancel = "rollback" if "rollback" in (run.cancel, action) else action
        if run.status == "running":
            return "signalled"
        self._end_without_worker(run, "interrupted", None)
        return "ended"

    def delete_run(self, run_id: UUID) -> str:
        run = self.find(run_id)
        if run is None:
            return "not_found"
        if run.active:
            return "active"
        self.truthful = False
        self.runs.remove(run)
        for other in self.runs:
            other.outlived |= other.status == "running"
        back = self._let_go_of(run_id)
        self.kept = self.kept.without(run_id).restored(back)
        self.found = {each: kept.without(run_id).restored(back) for each, kept in self.found.items()}
        self._tidy()
        return "deleted"

    # What workers do

    def claim(self, who: Claimant) -> Answer:
        """Look at the thread: take the next run, unless one is on under a lease that holds."""
        run, ended = self.running, list[tuple[UUID, str, int]]()
        if run is None:
            return self._take_next(who, ended)
        if self.leased(run):
            return Answer("leased")
        if run.cancel is not None or self._is_lost(run):
            ended.append(self._give_up(run))
            return self._take_next(who, ended)
        run.crashes += 1
        if run.crashes >= SOLITARY and not who.alone:
            run.status, run.lease = "pending", None
            self._tell(run, "pending")
            return self._take_next(who, ended)
        return self._take(run, who, ended)

    def _is_lost(self, run: ModelRun) -> bool:
        """Whether this crash was one too many: a death alone that was seen, or too many that nobody saw."""
        lease = run.lease or ModelLease("", 0)
        most = 2 * MAX_CRASHES if lease.alone else None
        return run.crashes + 1 >= MAX_CRASHES and (
            lease.died or (most is not None and run.crashes + 1 >= most)
        )

    def finish(self, run_id: UUID, attempt: int, left: Left, who: Claimant | None) -> Answer:
        """Write how a run ended, and take the next, if there is a `who` that wants it."""
        run = self.newest(run_id, attempt)
        if run is None:
            return Answer("fenced")
        status = self._end(run, left.status, left.error)
        if status != "rolled_back":
            self.resting, self.error = left.resting, left.error
            self.values = self.values if left.values is None else left.values
            self.interrupts = self.interrupts if left.interrupts is None else left.interrupts
            self.truthful = left.values is not None and not run.outlived
        ended = [(run_id, status, attempt)]
        return Answer("idle", None, tuple(ended)) if who is None else self._take_next(who, ended)

    def hand_back(self, run_id: UUID, attempt: int) -> Answer:
        run = self.newest(run_id, attempt)
        if run is None:
            return Answer("fenced")
        if run.cancel is not None:
            status = self._end_without_worker(run, "interrupted", None)
            return Answer("idle", None, ((run_id, status, attempt),))
        run.status, run.lease = "pending", None
        self._tell(run, "pending")
        return Answer("idle")

    def heartbeat(self, run_id: UUID, attempt: int) -> tuple[bool, str | None]:
        """Whether the lease is still this attempt's, and the cancel that its worker has to know of."""
        run = self.newest(run_id, attempt)
        if run is None:
            return False, None
        if run.lease is not None:
            run.lease = replace(run.lease, until=self.now + LEASE_SECS)
        return True, run.cancel

    def died_alone(self, worker: str) -> bool:
        """Somebody has seen a process die that was alone with its run: the lease is over."""
        run = self.running
        if run is None or run.lease is None or not run.lease.alone or run.lease.worker != worker:
            return False
        run.lease = replace(run.lease, until=self.now, died=True)
        return True

    def _take_next(self, who: Claimant, ended: list[tuple[UUID, str, int]]) -> Answer:
        run = self.next
        if run is None:
            return Answer("idle", None, tuple(ended))
        if run.crashes >= SOLITARY and not who.alone:
            return Answer("solitary", None, tuple(ended))
        run.status = "running"
        return self._take(run, who, ended)

    def _take(self, run: ModelRun, who: Claimant, ended: list[tuple[UUID, str, int]]) -> Answer:
        run.attempt += 1
        run.lease = ModelLease(who.worker, self.now + LEASE_SECS, who.alone)
        self.found.setdefault(run.run_id, self.kept)
        self._tell(run, "running")
        return Answer("claimed", (run.run_id, run.attempt), tuple(ended))

    def _give_up(self, run: ModelRun) -> tuple[UUID, str, int]:
        """Its worker is lost: once too often, or after a cancel."""
        if run.cancel is not None:
            return run.run_id, self._end_without_worker(run, "interrupted", None), run.attempt
        self.dead_letters.append(run.run_id)
        status = self._end_without_worker(run, "error", "WorkerLost")
        self.resting, self.error = "error", "WorkerLost"
        return run.run_id, status, run.attempt

    # How a run ends

    def _end(self, run: ModelRun, status: str, error: str | None) -> str:
        """A cancel that was accepted wins over any other outcome; of a run that is rolled back nothing is left."""
        run.lease = None
        if run.cancel == "rollback":
            self.runs.remove(run)
            self.kept = self.found.pop(run.run_id, self.kept)
            self._let_go_of(run.run_id)
            self._tidy()
            self._tell(run, "rolled_back")
            self._owe(run, "rollback")
            return "rolled_back"
        run.status, run.error = "interrupted" if run.cancel else status, error
        self.found.pop(run.run_id, None)
        if run.attempt > 1 or (run.attempt == 1 and run.status != "success"):
            self.kept = self.kept.without_strays(run.run_id)
        self._tell(run, run.status)
        self._owe(run, run.status)
        return run.status

    def _end_without_worker(self, run: ModelRun, status: str, error: str | None) -> str:
        """The thread rests as before; its values are those of the last run that a worker ended."""
        began = self.found.get(run.run_id, self.kept) != self.kept
        ended = self._end(run, status, error)
        if ended != "rolled_back":
            self.truthful = self.truthful and not began
        return ended

    def write(self, run_id: UUID, kept: Kept) -> None:
        """The graph of the newest attempt has written checkpoints: they are what they are."""
        over = self.kept.wrote_over(kept, run_id)
        self.replaced[run_id] = self.replaced.get(run_id, frozenset()) | over
        self.kept = kept

    def _let_go_of(self, run_id: UUID) -> frozenset[Write]:
        """What a run that goes had written over; who wrote over its own writes has written over these."""
        back = self.replaced.pop(run_id, frozenset())
        for by, over in self.replaced.items():
            lost = {each.key for each in over if each.run_id == run_id}
            others = frozenset(each for each in over if each.run_id != run_id)
            self.replaced[by] = others | {each for each in back if each.key in lost}
        return back

    def _tidy(self) -> None:
        """Values that no checkpoint has go, unless a run is on that may have read them."""
        if self.running is None:
            self.kept = self.kept.tidied()

    def _tell(self, run: ModelRun, status: str) -> None:
        self.events.append((run.run_id, run.attempt, status))

    def _owe(self, run: ModelRun, status: str) -> None:
        if run.webhook:
            self.webhooks.append((run.run_id, status))

    def copy(self) -> ThreadModel:
        """Another model in the same state, to try on it what may come first."""
        return replace(
            self,
            runs=[replace(run) for run in self.runs],
            events=[*self.events],
            webhooks=[*self.webhooks],
            dead_letters=[*self.dead_letters],
            found={**self.found},
            replaced={**self.replaced},
        )
