"""Publishes what happened to runs: empties the outbox that triggers fill (migrations/0011_run_events.sql)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from treadle.db.pool import COMMAND_TIMEOUT_SECS
from treadle.db.run_events import NotedEvent, RunEventOutbox
from treadle.messaging.run_events import RunEventPublisher
from treadle.telemetry.metrics import Duty as DutyName
from treadle.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

BATCH = 500
# After a batch that NATS did not take as a whole.
PAUSE_SECS = 1.0


class RunEvents:
    """Publishes events in batches, and removes those that JetStream has, or that nobody wants any more.

    Args:
        max_age_secs: what has waited longer is dropped; 0: nothing is published, all of it is dropped.
    """

    name: DutyName = "run_events"

    def __init__(
        self,
        outbox: RunEventOutbox,
        publisher: RunEventPublisher,
        metrics: Metrics,
        interval_secs: float,
        max_age_secs: float,
    ) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._metrics = metrics
        self._interval_secs = interval_secs
        self._max_age_secs = max_age_secs
        self._start = Start()
        self._well = True

    @property
    def interval_secs(self) -> float:
        return self._interval_secs if self._well else max(self._interval_secs, PAUSE_SECS)

    async def round(self) -> int:
        """Settle batch after batch until one was not full, or NATS did not take all of it."""
        settled = 0
        while (batch := await self._batch()) == BATCH:
            settled += batch
        return settled + batch

    async def _batch(self) -> int:
        waiting = await self._outbox.waiting(self._start.after(), BATCH, self._max_age_secs)
        dropped = [event for event in waiting if event.too_old]
        published = await self._publish([event for event in waiting if not event.too_old])
        if settled := [*dropped, *published]:
            await self._outbox.remove(settled)
        self._count(dropped)
        self._well = len(settled) == len(waiting)
        if not self._well:
            self._start.reset()
        elif waiting:
            self._start.settled(waiting[-1].event_id)
        return len(settled)

    async def _publish(self, events: list[NotedEvent]) -> list[NotedEvent]:
        """Also without events: then it is seen to that the stream is there for those who want to read it."""
        if not self._max_age_secs:
            return []
        published = await self._publisher.publish(events)
        self._metrics.run_events_published.inc(len(published))
        self._metrics.run_events_failed.inc(len(events) - len(published))
        return published

    def _count(self, dropped: list[NotedEvent]) -> None:
        if dropped and self._max_age_secs:
            self._metrics.run_events_dropped.inc(len(dropped))
            log.warning(
                "%s run events were dropped: they had waited for NATS longer than the %g s of "
                "TREADLE_RUN_EVENTS_MAX_AGE_SECS",
                len(dropped),
                self._max_age_secs,
            )


class Start:
    """Where in the outbox a look begins: not at its very start each time.

    Rows that were removed lie there until a vacuum, and no vacuum takes them while some transaction is older (a dump, for
    hours): ten looks a second would wade through all of them. So a look begins behind what was settled a while ago, longer
    than a transaction lasts that has an event and waits for the lock of another thread: its event would be told after
    those that follow it on its thread. What is committed even later is found by the look at everything, once a minute.
    """

    LAG_SECS = COMMAND_TIMEOUT_SECS + 5.0
    ALL_SECS = 60.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all_at = clock() + self.ALL_SECS
        self.reset()

    def reset(self) -> None:
        """Something was left behind: begin at the start again."""
        self._after = self._next = self._highest = 0
        self._move_at = self._clock() + self.LAG_SECS

    def settled(self, event_id: int) -> None:
        """All that was seen up to an id is settled."""
        self._highest = max(self._highest, event_id)

    def after(self) -> int:
        """The id behind which to look now."""
        now = self._clock()
        if now >= self._move_at:
            self._after, self._next = self._next, self._highest
            self._move_at = now + self.LAG_SECS
        if now >= self._all_at:
            self._all_at = now + self.ALL_SECS
            return 0
        return self._after
