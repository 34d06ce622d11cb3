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

from asyncpg import PostgresError
from msgspec import structs

from treadle.db.pool import postgres_errors
from treadle.db.runs import Claim, EndedRun, Lease, Outcome, Runs
from treadle.errors import Unavailable
from treadle.model import ROLLED_BACK, Run, RunStatus
from treadle.telemetry.metrics import Metrics
from treadle_worker.active import ActiveRun
from treadle_worker.leases import LeaseKeeper
from treadle_worker.spans import Spans

log = logging.getLogger(__name__)

RETRY_SECS = 0.2
# A claim is tried for so long; then another worker may look at the thread.
CLAIM_SECS = 5.0
GOING_ON = (RunStatus.PENDING, RunStatus.RUNNING)


class Taken(NamedTuple):
    """What a step has come to, and a moment before the statement that did it: a lease that it took counts from there.

    A step may be tried for longer than a lease lasts, so that its own beginning would be too early.
    """

    claim: Claim
    since: float


class Settling:
    """Claims, finishes and hands back runs.

    Args:
        lease: what is asked for with each claim.
        draining: once it is set, no step is taken longer than the lease of its run lasts.
    """

    def __init__(
        self,
        runs: Runs,
        leases: LeaseKeeper,
        lease: Lease,
        metrics: Metrics,
        spans: Spans,
        draining: asyncio.Event,
    ) -> None:
        self._runs = runs
        self._leases = leases
        self._lease = lease
        self._metrics = metrics
        self._spans = spans
        self._draining = draining
        self._steps = count()

    async def claim(self, thread_id: UUID) -> Taken:
        """Take the next run of a thread.

        Raises:
            Unavailable: Postgres stayed away.
            PostgresError: it refuses to.
        """
        lease, lost_at = self._named(), None
        last = time.monotonic() + CLAIM_SECS
        while True:
            started = time.monotonic()
            try:
                with postgres_errors("claiming a run"):
                    claim = await self._runs.claim(thread_id, lease)
                    if lost_at is None or claim.outcome != "leased":
                        return Taken(claim, started)
                    run = await self._runs.claimed_as(thread_id, lease.worker)
                    found = claim if run is None else Claim("claimed", None, claim.ended, run)
                    return Taken(found, lost_at)
            except Unavailable:
                if self._draining.is_set() or time.monotonic() > last:
                    raise
            lost_at = started
            await asyncio.sleep(RETRY_SECS)

    async def finish(self, active: ActiveRun, outcome: Outcome) -> Taken | None:
        """Write an outcome, and claim the thread's next run; None when it could not be written."""
        lease, lost_at = self._named(), None
        while True:
            started = time.monotonic()
            try:
                with (
                    postgres_errors("writing the outcome of a run"),
                    self._spans.finish(active.run, outcome.status, active.trace),
                ):
                    claim = await self._runs.finish(active.run, outcome, lease, claim_next=self._goes_on)
                    if lost_at is not None and claim.outcome == "fenced":
                        claim, started = await self._finished_before(active.run, lease), lost_at
            except Unavailable as error:
                if not self._goes_on_trying(active):
                    log.warning("the outcome of run %s is given up: %s", active.run.run_id, error)
                    return None
                lost_at = started
                await asyncio.sleep(RETRY_SECS)
                continue
            except PostgresError as error:
                say("the outcome of run %s was refused: %s", active.run.run_id, error)
                return None
            self._metrics.finish_sql.observe(time.monotonic() - started)
            return Taken(claim, started)

    async def hand_back(self, active: ActiveRun) -> Taken | None:
        """Give a run back, be it after its lease has ended: then only if nobody has taken it over."""
        lost = False
        while True:
            try:
                with postgres_errors("handing a run back"):
                    claim = await self._runs.hand_back(active.run)
                return Taken(structs.replace(claim, outcome="idle") if lost else claim, time.monotonic())
            except Unavailable as error:
                if not self._goes_on_trying(active):
                    say("run %s goes back only when its lease ends: %s", active.run.run_id, error)
                    return None
                lost = True
                await asyncio.sleep(RETRY_SECS)
            except PostgresError as error:
                say("run %s goes back only when its lease ends: %s", active.run.run_id, error)
                return None

    async def _finished_before(self, run: Run, lease: Lease) -> Claim:
        """The answer that was lost, if there was one; `fenced` if somebody else has the run."""
        following = await self._runs.claimed_as(run.thread_id, lease.worker)
        found = await self._runs.get(run.thread_id, run.run_id, gone=True)
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
        return not self._draining.is_set() and not self._lease.alone

    def _goes_on_trying(self, active: ActiveRun) -> bool:
        """All steps are fenced, so it does no harm; but a worker that is to stop does not wait for Postgres."""
        return not self._draining.is_set() or self._leases.valid(active)


def say(text: str, what: UUID, error: Exception) -> None:
    """Postgres being away is to be expected. What it refuses is not, and must not stop the other threads' runs."""
    log.log(logging.WARNING if isinstance(error, Unavailable) else logging.ERROR, text, what, error)
