"""Wakes the route's workers for delayed runs whose time has come, as NATS says (`treadle.messaging.delays`).

NATS goes by its own clock, delays by the database's: a run that comes early is put back until it is due, so that a clock
that runs ahead costs nothing. The wake-up is the one that the scheduler's duty would publish, with the same message id:
JetStream keeps the first of the two.
"""

from __future__ import annotations

import asyncio
import logging

from asyncpg import PostgresError

from treadle.db.pool import Pool, clock, postgres_errors
from treadle.errors import Unavailable
from treadle.messaging.connection import NATS_ERRORS
from treadle.messaging.delays import DueDelivery
from treadle.messaging.inbox import Inbox
from treadle.messaging.wakeups import Source
from treadle.operations.wakeups import Wakeups
from treadle.patience import being_cancelled
from treadle.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

PULL_SECS = 5.0
AWAY_SECS = 0.5
# A run that could not be looked at, since Postgres or NATS was away, comes again after this long.
LOOK_AGAIN_SECS = 0.5


class DueRuns:
    """Forwards what has come due, one run at a time.

    Args:
        kept: set while NATS keeps schedules.
    """

    def __init__(
        self,
        inbox: Inbox[DueDelivery],
        pool: Pool,
        wakeups: Wakeups,
        metrics: Metrics,
        kept: asyncio.Event,
    ) -> None:
        self._inbox = inbox
        self._pool = pool
        self._wakeups = wakeups
        self._metrics = metrics
        self._kept = kept

    async def run(self) -> None:
        """Forward until cancelled. What is in hand then comes to another worker."""
        try:
            # A cancel may be forgotten on its way, by `asyncio.wait_for` up to Python 3.11.
            while not being_cancelled():
                await self._kept.wait()
                await self._forward_one()
        finally:
            await self._inbox.close()

    async def _forward_one(self) -> None:
        try:
            delivery = await self._inbox.pull(PULL_SECS)
            if delivery is not None:
                await self._forward(delivery)
        except NATS_ERRORS as error:
            log.debug("no run that is due could be pulled: %r", error)
            await asyncio.sleep(AWAY_SECS)

    async def _forward(self, delivery: DueDelivery) -> None:
        early_secs = await self._early_secs(delivery)
        if early_secs > 0:
            await delivery.come_again(early_secs)
        elif await self._wakeups.wake(delivery.run, Source.DELAY, delivery.trace):
            self._metrics.wakeups["schedule"].inc()
            await delivery.ack()
        else:
            self._metrics.wakeup_failures["schedule"].inc()
            await delivery.come_again(LOOK_AGAIN_SECS)

    async def _early_secs(self, delivery: DueDelivery) -> float:
        """How long until the run is due by the database's clock."""
        try:
            with postgres_errors("asking for the time"):
                now = await clock(self._pool)
        except (Unavailable, PostgresError) as error:
            log.warning("delayed run %s could not be looked at: %s", delivery.run.run_id, error)
            return LOOK_AGAIN_SECS
        return (delivery.run.not_before - now).total_seconds()
