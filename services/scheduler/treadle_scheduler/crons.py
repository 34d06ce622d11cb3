"""Crons: makes a run at each tick.

Two schedulers may do this at the same time, and neither asks whether it leads: a tick is a row, written in the
transaction that makes its run and moves its cron on, and there is one for a cron and a moment.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from time import perf_counter

import msgspec

from treadle.db.new_run import NewRun
from treadle.db.runs import CancelledRun
from treadle.db.ticks import MadeTick, NewTick, Ticks
from treadle.errors import InvalidRequest, NotFound
from treadle.model import Cron
from treadle.operations.asking import Asking
from treadle.operations.create import Creation
from treadle.operations.cron_runs import cron_run
from treadle.telemetry.metrics import Duty as DutyName
from treadle.telemetry.metrics import Metrics
from treadle_scheduler.planning import Plan, plan

log = logging.getLogger(__name__)

# Of very many ticks at once: workers that set about the first runs would take the cores from what is still to be accepted.
HELD_SECS = 3.0
SKIPPED = "It was missed: no scheduler was there to make it in time, and `on_missed` is `skip`."


class CronDuty:
    """Makes the ticks that are due, batch by batch.

    Args:
        grace_secs: what is later than that was missed.
        clock: the time; None: the database's.
    """

    name: DutyName = "cron"

    def __init__(
        self,
        ticks: Ticks,
        creation: Creation,
        metrics: Metrics,
        *,
        interval_secs: float,
        batch: int,
        grace_secs: float,
        clock: Callable[[], Awaitable[datetime]] | None = None,
    ) -> None:
        self._ticks = ticks
        self._creation = creation
        self._metrics = metrics
        self._batch = batch
        self._grace = timedelta(seconds=grace_secs)
        self._clock = clock or ticks.clock
        self.interval_secs = interval_secs

    async def round(self) -> int:
        """Make the ticks that were due when it began, and tell the workers."""
        began, now = perf_counter(), await self._clock()
        made, told_at = 0, began
        untold: list[tuple[NewRun, Sequence[CancelledRun]]] = []
        try:
            while batch := await self._make(now):
                for tick, outcome in batch:
                    self._note(tick, outcome, now, perf_counter() - began)
                made += len(batch)
                untold += [
                    (tick.run, each.cancelled)
                    for tick, each in batch
                    if tick.run and each.outcome == "created"
                ]
                if perf_counter() - told_at >= HELD_SECS:
                    await self._tell(untold)
                    told_at = perf_counter()
        finally:
            await self._tell(untold)
        return made

    async def _tell(self, untold: list[tuple[NewRun, Sequence[CancelledRun]]]) -> None:
        await self._creation.announce_all(untold)
        untold.clear()

    async def _make(self, now: datetime) -> list[tuple[NewTick, MadeTick]]:
        """Make one tick of each cron that is due, as many as a batch holds; those that came to something."""
        planned = [await self.planned(cron, now) for cron in await self._ticks.due(now, self._batch)]
        if not planned:
            return []
        pairs = zip(planned, await self._ticks.make(planned), strict=True)
        return [(tick, made) for tick, made in pairs if made.outcome != "moved"]

    async def planned(self, cron: Cron, now: datetime) -> NewTick:
        """The next tick of a cron that is due; one that cannot have a run has the reason instead."""
        due = cron.next_run_date or now
        try:
            step = plan(cron, due, now, self._grace)
        except InvalidRequest as error:
            return NewTick(cron, due, None, None, f"The cron has stopped. {error}")
        if step.skip:
            return NewTick(cron, step.scheduled_for, step.following, None, SKIPPED)
        return await self._with_run(cron, step)

    async def _with_run(self, cron: Cron, step: Plan) -> NewTick:
        try:
            asked = cron_run(cron)
            row = await self._creation.row(
                Asking(cron.tenant, cron.asking),
                asked.run_id,
                asked.thread_id,
                asked.body,
                stateless=asked.stateless,
                cron_id=cron.cron_id,
            )
        except (InvalidRequest, NotFound, msgspec.ValidationError) as error:
            return NewTick(cron, step.scheduled_for, step.following, None, str(error))
        return NewTick(cron, step.scheduled_for, step.following, row)

    def _note(self, tick: NewTick, made: MadeTick, now: datetime, since_secs: float) -> None:
        """Count what came of a tick; an assistant that has changed is read again before the next attempt at it.

        Args:
            now: when the round began.
            since_secs: how long ago that is.
        """
        if tick.run is not None and self._creation.out_of_date(tick.run, made.outcome):
            return
        cron_id, late = tick.cron.cron_id, now - tick.scheduled_for
        if late > self._grace:
            self._metrics.crons_missed.inc()
            log.warning("cron %s: ticks missed, the newest at %s", cron_id, tick.scheduled_for)
        if made.outcome == "created":
            self._metrics.cron_ticks["made"].inc()
            self._metrics.cron_lateness.observe(late.total_seconds() + since_secs)
        elif tick.error == SKIPPED:
            self._metrics.cron_ticks["skipped"].inc()
        else:
            self._metrics.cron_ticks["refused"].inc()
            reason = tick.error or made.outcome
            log.warning("cron %s: no run for %s: %s", cron_id, tick.scheduled_for, reason)
