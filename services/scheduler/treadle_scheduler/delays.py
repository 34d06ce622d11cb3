"""Delayed runs (`after_seconds`): wakes workers for them when they come due.

Where NATS keeps schedules, the workers wake themselves (`treadle.messaging.delays`), and this finds what slipped
through. It works the same way in either case, since JetStream drops the second of two equal wake-ups.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from treadle.db.queue import DuePlace, DueRun, Queue
from treadle.messaging.wakeups import Source
from treadle.operations.wakeups import Wakeups
from treadle.telemetry.metrics import Duty as DutyName
from treadle.telemetry.metrics import Metrics

# Runs that are read, and wake-ups that are under way, at the same time.
BATCH = 200
# A new leader looks back this far; what is older is the sweeper's.
LOOK_BACK = timedelta(seconds=10)


class Delays:
    """Looks for runs that have come due since its last look."""

    name: DutyName = "delay"

    def __init__(self, queue: Queue, wakeups: Wakeups, metrics: Metrics, interval_secs: float) -> None:
        self._queue = queue
        self._wakeups = wakeups
        self._metrics = metrics
        self.interval_secs = interval_secs
        self._seen: DuePlace | None = None

    async def round(self) -> int:
        """Wake all that are due. The next round goes on behind the last batch that NATS has taken."""
        if self._seen is None:
            self._seen = DuePlace.at(await self._queue.clock() - LOOK_BACK)
        woken = 0
        while runs := await self._queue.come_due(self._seen, BATCH):
            taken = await asyncio.gather(*map(self._wake, runs))
            woken += sum(taken)
            if not all(taken):
                break
            self._seen = DuePlace.of(runs[-1])
        return woken

    async def _wake(self, run: DueRun) -> bool:
        seen_to = await self._wakeups.wake(run, Source.DELAY)
        (self._metrics.wakeups if seen_to else self._metrics.wakeup_failures)["delay"].inc()
        return seen_to
