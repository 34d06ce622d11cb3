"""The sweeper: wakes workers for runs that nobody seems to have been told of, and for those whose worker is gone.

The protocol does not need it while NATS keeps what it acknowledged; it is what makes losing a wake-up harmless. The
third thing that it mends, webhooks that were not delivered, is the outbox's business (webhooks.py).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from treadle.db.queue import Queue, WaitingPlace, WaitingRun
from treadle.messaging.wakeups import Source, WakeupPublisher
from treadle.telemetry.metrics import Duty as DutyName
from treadle.telemetry.metrics import Metrics

BEGINNING = WaitingPlace(datetime(1970, 1, 1, tzinfo=UTC), 0)
# A run is announced again each time its waiting has grown by this factor: often while it is fresh, seldom later.
GROWTH = 1.5
# Leases of one worker end within moments of each other: one look finds them all. It is also the shortest pause between two.
TOGETHER_SECS = 0.02


class Waking:
    """Publishes wake-ups, and counts them."""

    def __init__(self, publisher: WakeupPublisher, metrics: Metrics) -> None:
        self._publisher = publisher
        self._metrics = metrics

    async def wake(self, runs: Sequence[WaitingRun]) -> int:
        """Announce runs; returns how many of them were news to JetStream."""
        return sum(await asyncio.gather(*map(self._wake, runs)))

    async def _wake(self, run: WaitingRun) -> bool:
        """JetStream drops the repetitions of one stage of waiting by their message id.

        Since when it waits is part of that: a lease that was found dead, and was extended after all, may die again.
        """
        stage = int(math.log(max(run.waited_secs, 1), GROWTH))
        ack = await self._publisher.send(run, Source.SWEEPER, nonce=f"{run.since.timestamp():.3f}-{stage}")
        (self._metrics.wakeups if ack else self._metrics.wakeup_failures)["sweeper"].inc()
        return ack is not None and not ack.duplicate


class Untold:
    """Looks for pending runs without a wake-up."""

    name: DutyName = "untold"

    def __init__(self, queue: Queue, waking: Waking, interval_secs: float, batch: int) -> None:
        self._queue = queue
        self._waking = waking
        self.interval_secs = interval_secs
        self._batch = batch
        self._after = BEGINNING

    async def round(self) -> int:
        """Wake one batch; the next round goes on where this one ended."""
        overdue = await self._queue.overdue(self.interval_secs, self._batch, self._after)
        self._after = overdue[-1].place if len(overdue) == self._batch else BEGINNING
        return await self._waking.wake([run for run in overdue if not run.has_turn])


class Leaseless:
    """Looks for running runs whose worker is dead, hangs, or is cut off.

    It looks when the next lease ends, rather than now and then, so that their runs go on at once; and every
    `interval_secs` besides, for leases that are shorter than those that it knew of.
    """

    name: DutyName = "leaseless"

    def __init__(self, queue: Queue, waking: Waking, interval_secs: float, batch: int) -> None:
        self._queue = queue
        self._waking = waking
        self._longest_secs = interval_secs
        self.interval_secs = interval_secs
        self._batch = batch

    async def round(self) -> int:
        """Wake one batch; those that are taken over are not found again."""
        self.interval_secs = self._longest_secs
        woken = await self._waking.wake(await self._queue.leaseless(self._batch))
        if (secs := await self._queue.next_lease_end()) is not None:
            self.interval_secs = min(self._longest_secs, max(secs, 0) + TOGETHER_SECS)
        return woken
