"""Delayed runs (`after_seconds`): wakes workers for them when they come due."""

from __future__ import annotations

from datetime import datetime, timedelta

from treadle.db.queue import Queue
from treadle.messaging.wakeups import Source, WakeupPublisher
from treadle.telemetry.metrics import Duty as DutyName
from treadle.telemetry.metrics import Metrics

BATCH = 1000
# A new leader looks back this far; what is older is the sweeper's.
LOOK_BACK = timedelta(seconds=10)


class Delays:
    """Looks for runs that have come due since its last look."""

    name: DutyName = "delay"

    def __init__(
        self, queue: Queue, publisher: WakeupPublisher, metrics: Metrics, interval_secs: float
    ) -> None:
        self._queue = queue
        self._publisher = publisher
        self._metrics = metrics
        self.interval_secs = interval_secs
        self._seen: datetime | None = None

    async def round(self) -> int:
        """Wake those that are due; one that NATS did not take is left to the sweeper."""
        if self._seen is None:
            self._seen = await self._queue.clock() - LOOK_BACK
        woken = 0
        for run in await self._queue.come_due(self._seen, BATCH):
            self._seen = run.not_before
            published = await self._publisher.publish(run, Source.DELAY)
            (self._metrics.wakeups if published else self._metrics.wakeup_failures)["delay"].inc()
            woken += published
        return woken
