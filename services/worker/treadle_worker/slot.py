"""A slot: takes one wake-up, works on its thread until the thread has nothing left to do, takes the next.

`Slot` takes wake-ups, `Work` is what it does with each.

Invariant: each thread in work is covered by exactly one unacknowledged message, the one with which a slot came to
it, whichever of the thread's runs is on. If this process dies, that message comes again, and somebody looks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from uuid import UUID

from asyncpg import PostgresError

from treadle.db.runs import EndedRun, Lease, Runs
from treadle.errors import Unavailable
from treadle.messaging.connection import NATS_ERRORS
from treadle.messaging.inbox import Inbox
from treadle.messaging.wakeups import Delivery, HeldWakeup
from treadle.model import RunStatus
from treadle.telemetry.metrics import Metrics
from treadle.webhooks.outbox import Outbox
from treadle_worker.active import ActiveRun
from treadle_worker.appetite import Appetite
from treadle_worker.drain import Drain
from treadle_worker.endings import Ended, HandedBack, Lost
from treadle_worker.execution import Executor
from treadle_worker.leases import LeaseKeeper
from treadle_worker.settling import Settling, Taken, say
from treadle_worker.solitude import Solitude
from treadle_worker.spans import Spans
from treadle_worker.turned_away import LONGEST_PAUSE_SECS

log = logging.getLogger(__name__)

PULL_SECS = 5.0
AWAY_SECS = 0.5
# A wake-up that could not be looked at, since Postgres was away, comes again after this long.
LOOK_AGAIN_SECS = 1.0


class Slot:
    """One of a worker's N_JOBS_PER_WORKER places for a run."""

    def __init__(
        self,
        inbox: Inbox[Delivery],
        work: Work,
        spans: Spans,
        draining: asyncio.Event,
        appetite: Appetite,
    ) -> None:
        self._inbox = inbox
        self._work = work
        self._spans = spans
        self._draining = draining
        self._appetite = appetite

    async def serve(self) -> None:
        """Work until the worker drains."""
        try:
            while not self._draining.is_set():
                delivery = await self._next()
                if delivery is not None:
                    await self._work_on(delivery)
        finally:
            await self._inbox.close()

    async def _work_on(self, delivery: Delivery) -> None:
        self._appetite.took(delivery.lie_ready)
        try:
            with self._spans.process(delivery):
                await self._work.look_at(delivery)
        except MemoryError:
            # A node has taken all of it, and what is beside it fails wherever it is. Nobody holds the thread any more, nor its
            # message, which comes again.
            log.exception("thread %s is left for want of memory, until its lease is over", delivery.thread_id)
        finally:
            self._appetite.finished()

    async def _next(self) -> Delivery | None:
        """Wait for a wake-up, or for the drain, whichever comes first."""
        pull = asyncio.ensure_future(self._inbox.pull(PULL_SECS))
        drain = asyncio.ensure_future(self._draining.wait())
        await asyncio.wait({pull, drain}, return_when=asyncio.FIRST_COMPLETED)
        drain.cancel()
        if not pull.done():
            pull.cancel()
        try:
            return await pull
        except asyncio.CancelledError:
            if not self._draining.is_set():
                raise
            return None
        except NATS_ERRORS as error:
            log.debug("no wake-up could be pulled: %r", error)
            await asyncio.sleep(AWAY_SECS)
            return None


class Work:
    """What a wake-up leads to: the runs of its thread, one after the other. All slots of a worker share one.

    Args:
        solitude: for runs that are to be executed alone; None: this process has a run for itself, and takes any.
    """

    def __init__(
        self,
        runs: Runs,
        leases: LeaseKeeper,
        executor: Executor,
        lease: Lease,
        metrics: Metrics,
        spans: Spans,
        webhooks: Outbox[UUID],
        drain: Drain,
        solitude: Solitude | None,
    ) -> None:
        self._settling = Settling(runs, leases, lease, metrics, spans, drain)
        self._leases = leases
        self._executor = executor
        self._metrics = metrics
        self._spans = spans
        self._webhooks = webhooks
        self._draining = drain.started
        self._solitude = solitude

    async def look_at(self, delivery: HeldWakeup) -> None:
        """Do what there is to do on the thread, and answer the wake-up."""
        started = time.monotonic()
        try:
            with self._spans.claim(delivery):
                taken = await self._settling.claim(delivery.thread_id)
        except (Unavailable, PostgresError) as error:
            say("thread %s could not be looked at: %s", delivery.thread_id, error)
            await self._nak(delivery, LOOK_AGAIN_SECS)
            return
        self._metrics.claim_sql.observe(time.monotonic() - started)
        claim = taken.claim
        self._count_given_up(claim.ended)
        if claim.run is not None:
            await self._work_on(delivery, taken)
            return
        await self._announce(claim.ended)
        if claim.outcome == "solitary":
            await self._leave_alone(delivery)
        elif claim.outcome == "leased" and delivery.redelivered:
            # Early, not stale: its first receiver may be dead, and the lease is all that is left of it.
            self._metrics.claims["leased"].inc()
            await self._nak(delivery, claim.retry_in or 0)
        else:
            self._metrics.claims["stale"].inc()
            await self._ack(delivery)

    async def _work_on(self, delivery: HeldWakeup, taken: Taken) -> None:
        """Run after run of one thread, until it has none left, or this worker has to let go of it."""
        while (run := taken.claim.run) is not None:
            self._metrics.claims["claimed"].inc()
            active = ActiveRun(run, self._spans.trace_of(run, delivery))
            self._leases.hold(active, delivery.ack_subject, taken.since)
            try:
                # Of the runs before it. Redis may keep it waiting for longer than a short lease lasts, which is kept by now.
                await self._announce(taken.claim.ended)
                ended = await self._executor.execute(active)
                settled = await self._settle(active, ended)
            finally:
                self._leases.release(active)
            if settled is None or settled.claim.outcome == "fenced":
                # Another worker has the thread, or will when the lease is over, and a message of its own for it.
                self._executor.forget(run)
                return
            if run.kwargs.get("webhook"):
                self._webhooks.put(run.run_id)  # without room for it, it is the scheduler's
            taken = settled
            if not isinstance(ended, Ended):
                await self._announce(taken.claim.ended)
                await self._nak(delivery, self._pause_secs(ended))
                return
        await self._announce(taken.claim.ended)
        if taken.claim.outcome == "solitary":
            await self._leave_alone(delivery)
        elif self._draining.is_set():
            await self._nak(delivery, 0)  # what was not claimed any more is for another worker, at once
        else:
            await self._ack(delivery)

    def _pause_secs(self, ended: HandedBack | Lost) -> float:
        """When another worker, or this one, is to look at a run that goes on: the later, the more often it came to nothing."""
        times = ended.times if isinstance(ended, HandedBack) else 0
        return 0 if self._draining.is_set() else min(LOOK_AGAIN_SECS * max(times, 1), LONGEST_PAUSE_SECS)

    async def _leave_alone(self, delivery: HeldWakeup) -> None:
        """Have the thread's next run executed by a process of its own; then the thread is to be looked at again."""
        self._metrics.claims["solitary"].inc()
        again_secs = LOOK_AGAIN_SECS
        if self._solitude is not None and delivery.ack_subject is not None:
            with self._leases.in_progress(delivery.ack_subject):
                again_secs = await self._solitude.attempt(delivery.thread_id, delivery.deliveries)
        await self._nak(delivery, again_secs)

    async def _ack(self, delivery: HeldWakeup) -> None:
        with self._spans.settle("ack", delivery):
            await delivery.ack()

    async def _nak(self, delivery: HeldWakeup, delay_secs: float) -> None:
        with self._spans.settle("nak", delivery):
            await delivery.nak(delay_secs)

    async def _settle(self, active: ActiveRun, ended: Ended | HandedBack | Lost) -> Taken | None:
        """Write what became of the run; None when nothing could, or may, be written."""
        match ended:
            case Ended(outcome):
                return await self._settling.finish(active, outcome)
            case HandedBack() | Lost():
                # What was lost since Postgres was away may still be nobody's; else this is refused.
                return await self._settling.hand_back(active)

    def _count_given_up(self, ended: Sequence[EndedRun]) -> None:
        """Runs that a claim has ended: their workers died, too often or after a cancel."""
        self._metrics.claims["ended"].inc(len(ended))
        self._metrics.dead_letters.inc(sum(run.status == RunStatus.ERROR for run in ended))

    async def _announce(self, ended: Iterable[EndedRun]) -> None:
        for run in ended:
            self._metrics.runs_ended[run.status].inc()
            await self._executor.announce_end(run)
