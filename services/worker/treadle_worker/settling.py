"""The steps of the run protocol as a worker takes them: each once, though Postgres goes away and answers are lost.

An answer that is lost says nothing of what was done. So a step is taken again, and where Postgres then says that somebody
else has been there, it is asked whether that was us: each step has a name of its own, under which it claims.
"""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import count
from typing import NamedTuple
from uuid import UUID

from asyncpg import OutOfMemoryError, PostgresError
from msgspec import structs

from treadle.db.pool import postgres_errors
from treadle.db.runs import Claim, EndedRun, Lease, Outcome, Runs, unstorable
from treadle.db.scope import EVERYWHERE
from treadle.errors import Unavailable
from treadle.model import ROLLED_BACK, Run, RunStatus
from treadle.patience import Reminder
from treadle.telemetry.metrics import Metrics
from treadle_worker.active import ActiveRun
from treadle_worker.drain import Drain
from treadle_worker.leases import LeaseKeeper
from treadle_worker.spans import Spans

log = logging.getLogger(__name__)

RETRY_SECS = 0.2
# A claim is tried for so long; then another worker may look at the thread.
CLAIM_SECS = 5.0
# In a drain that is over, what has still to be written is tried for so long.
LAST_TRIES_SECS = 5.0
# When there was no memory for an outcome for so long, of Postgres's or of this process, it is the outcome that is too large.
TOO_LARGE_SECS = 30.0
GOING_ON = (RunStatus.PENDING, RunStatus.RUNNING)


class Taken(NamedTuple):
    """What a step has come to, and a moment before the statement that did it: a lease that it took counts from there.

    A step may be tried for longer than a lease lasts, so that its own beginning would be too early.
    """

    claim: Claim
    since: float


class Tries:
    """A step that is taken again and again while Postgres is away, which is said at first and then now and then."""

    def __init__(self, what: str) -> None:
        self.since = time.monotonic()
        self._reminder = Reminder(f"Postgres, {what}")
        self._no_memory_since: float | None = None

    def failed(self, error: Unavailable) -> None:
        """Note a try that came to nothing."""
        self._reminder.waiting(str(error))
        if not isinstance(error.__cause__, OutOfMemoryError | MemoryError):
            self._no_memory_since = None
        elif self._no_memory_since is None:
            self._no_memory_since = time.monotonic()

    @property
    def too_large(self) -> bool:
        """Whether what was to be written is more than there is memory for."""
        since = self._no_memory_since
        return since is not None and time.monotonic() - since >= TOO_LARGE_SECS

    def over(self) -> None:
        """Note that Postgres has answered."""
        self._reminder.over()


class Settling:
    """Claims, finishes and hands back runs.

    Args:
        lease: what is asked for with each claim.
        drain: once it is over, or the lease of a run is, nothing more is tried for that run.
    """

    def __init__(
        self,
        runs: Runs,
        leases: LeaseKeeper,
        lease: Lease,
        metrics: Metrics,
        spans: Spans,
        drain: Drain,
    ) -> None:
        self._runs = runs
        self._leases = leases
        self._lease = lease
        self._metrics = metrics
        self._spans = spans
        self._drain = drain
        self._steps = count()

    async def claim(self, thread_id: UUID) -> Taken:
        """Take the next run of a thread.

        Raises:
            Unavailable: Postgres stayed away.
            PostgresError: it refuses to.
        """
        lease, lost = self._named(), False
        last = time.monotonic() + CLAIM_SECS
        while True:
            try:
                with postgres_errors("claiming a run"):
                    # Before it is claimed again: a short lease may be over by now, and would be taken over as a dead worker's.
                    if lost and (found := await self._claimed_before(thread_id, lease)) is not None:
                        return found
                    started = time.monotonic()
                    claim = await self._runs.claim(thread_id, lease)
                    if (
                        lost and claim.outcome == "leased"
                    ):  # the lost one may have waited for the thread until now
                        found = await self._claimed_before(thread_id, lease)
                        return found or Taken(claim, started)
                    return Taken(claim, started)
            except Unavailable:
                if self._drain.started.is_set() or time.monotonic() > last:
                    raise
            lost = True
            await asyncio.sleep(RETRY_SECS)

    async def _claimed_before(self, thread_id: UUID, lease: Lease) -> Taken | None:
        """What a claim got whose answer was lost, with the lease from now on."""
        started = time.monotonic()
        run = await self._runs.claimed_as(thread_id, lease)
        return None if run is None else Taken(Claim("claimed", None, (), run), started)

    async def finish(self, active: ActiveRun, outcome: Outcome) -> Taken | None:
        """Write an outcome, and claim the thread's next run; None when it could not be written."""
        lease, lost = self._named(), False
        tries = Tries(f"for the outcome of run {active.run.run_id}")
        while True:
            started = time.monotonic()
            try:
                with (
                    postgres_errors("writing the outcome of a run"),
                    self._spans.finish(active.run, outcome, active.trace),
                ):
                    claim = await self._runs.finish(active.run, outcome, lease, claim_next=self._goes_on)
                    if lost and claim.outcome == "fenced":
                        started = time.monotonic()
                        claim = await self._finished_before(active.run, lease)
            except Unavailable as error:
                tries.failed(error)
                if not self._goes_on_trying(active, tries):
                    log.warning("the outcome of run %s is given up: %s", active.run.run_id, error)
                    return None
                if tries.too_large:
                    outcome = unstorable(error, outcome.left)
                lost = True
                await asyncio.sleep(RETRY_SECS)
                continue
            except PostgresError as error:
                say("the outcome of run %s was refused: %s", active.run.run_id, error)
                return None
            tries.over()
            self._metrics.finish_sql.observe(time.monotonic() - started)
            return Taken(claim, started)

    async def hand_back(self, active: ActiveRun) -> Taken | None:
        """Give a run back, be it after its lease has ended: then only if nobody has taken it over."""
        lost, tries = False, Tries(f"to hand run {active.run.run_id} back")
        while True:
            try:
                with postgres_errors("handing a run back"):
                    claim = await self._runs.hand_back(active.run)
                tries.over()
                return Taken(structs.replace(claim, outcome="idle") if lost else claim, time.monotonic())
            except Unavailable as error:
                tries.failed(error)
                if not self._goes_on_trying(active, tries):
                    say("run %s goes back only when its lease ends: %s", active.run.run_id, error)
                    return None
                lost = True
                await asyncio.sleep(RETRY_SECS)
            except PostgresError as error:
                say("run %s goes back only when its lease ends: %s", active.run.run_id, error)
                return None

    async def _finished_before(self, run: Run, lease: Lease) -> Claim:
        """The answer that was lost, if there was one; `fenced` if somebody else has the run."""
        following = await self._runs.claimed_as(run.thread_id, lease)
        found = await self._runs.get(EVERYWHERE, run.thread_id, run.run_id, gone=True)
        if found is not None and (found.status in GOING_ON or found.attempt != run.attempt):
            return Claim("fenced", None, (), None)
        status = ROLLED_BACK if found is None else found.status
        outcome = "idle" if following is None else "claimed"
        return Claim(outcome, None, (EndedRun(run.run_id, status, run.attempt),), following)

    def _named(self) -> Lease:
        """The lease, under a name that no other step has. A process that has a run for itself takes one step."""
        if self._lease.alone:
            return self._lease
        return structs.replace(self._lease, worker=f"{self._lease.worker}/{next(self._steps)}")

    @property
    def _goes_on(self) -> bool:
        """Whether it takes the thread's next run when one has ended."""
        return not self._drain.started.is_set() and not self._lease.alone

    def _goes_on_trying(self, active: ActiveRun, tries: Tries) -> bool:
        """All steps are fenced, so it does no harm, and what a run has come to is kept for as long as Postgres is away.

        A worker that is to stop waits until its drain is over, and only while nobody else may have the run.
        """
        if not self._drain.started.is_set():
            return True
        last = max(self._drain.over_at or 0.0, tries.since + LAST_TRIES_SECS)
        return self._leases.valid(active) and time.monotonic() < last


def say(text: str, what: UUID, error: Exception) -> None:
    """Postgres being away is to be expected. What it refuses is not, and must not stop the other threads' runs."""
    log.log(logging.WARNING if isinstance(error, Unavailable) else logging.ERROR, text, what, error)
