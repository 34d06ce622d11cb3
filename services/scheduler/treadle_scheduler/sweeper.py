"""The sweeper: wakes workers for runs that nobody seems to have been told of.

The protocol does not need it while NATS keeps what it acknowledged; it is what makes losing a wake-up harmless.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from treadle.db.queue import Queue, WaitingRun
from treadle.messaging.wakeups import Source, WakeupPublisher
from treadle.telemetry.metrics import Duty as DutyName
from treadle.telemetry.metrics import Metrics

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
# A run is announced again each time its waiting has grown by this factor: often while it is fresh, seldom later.
GROWTH = 1.5


class Sweeper:
    """Looks for pending runs without a wake-up and for running ones without a lease."""

    name: DutyName = "wake"

    def __init__(
        self, queue: Queue, publisher: WakeupPublisher, metrics: Metrics, interval_secs: float, batch: int
    ) -> None:
        self._queue = queue
        self._publisher = publisher
        self._metrics = metrics
        self.interval_secs = interval_secs
        self._batch = batch
        self._after = LONG_AGO

    async def round(self) -> int:
        """Wake one batch; the next round goes on where this one ended."""
        overdue = await self._queue.overdue(self.interval_secs, self._batch, self._after)
        self._after = overdue[-1].created_at if len(overdue) == self._batch else LONG_AGO
        return sum([await self._wake(run) for run in [*await self._queue.leaseless(self._batch), *overdue]])

    async def _wake(self, run: WaitingRun) -> bool:
        """JetStream drops the repetitions of one stage of waiting by their message id."""
        stage = int(math.log(max(run.waited_secs, 1), GROWTH))
        published = await self._publisher.publish(run, Source.SWEEPER, nonce=str(stage))
        (self._metrics.wakeups if published else self._metrics.wakeup_failures)["sweeper"].inc()
        return published
