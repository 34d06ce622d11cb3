"""A duty: something small that the leading scheduler does again and again."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from treadle.checkpoint.reaching import psycopg_errors
from treadle.db.pool import postgres_errors
from treadle.errors import Unavailable
from treadle.patience import being_cancelled
from treadle.telemetry.metrics import Duty as DutyName
from treadle.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class Duty(Protocol):
    """Rounds are independent: whatever one leaves undone, the next one finds."""

    @property
    def name(self) -> DutyName: ...
    @property
    def interval_secs(self) -> float: ...

    async def round(self) -> int:
        """Do what there is to do; returns how many things were set right."""
        ...


async def perform(duty: Duty, metrics: Metrics) -> None:
    """Do the rounds of a duty until cancelled. Postgres being away costs rounds, nothing else."""
    # A cancel may be forgotten on its way, by `asyncio.wait_for` up to Python 3.11.
    while not being_cancelled():
        try:
            doing = f"doing the duty {duty.name}"
            with postgres_errors(doing), psycopg_errors(doing):
                done = await duty.round()
            metrics.sweeps[duty.name].inc()
            metrics.repairs[duty.name].inc(done)
        except Unavailable as error:
            log.warning("%s", error)
        await asyncio.sleep(duty.interval_secs)
