"""What ends the rounds of a duty, and what does not."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from treadle.telemetry.metrics import Duty as DutyName
from treadle.telemetry.metrics import Metrics
from treadle_scheduler.duty import perform


class Failing:
    """A duty whose first round fails."""

    name: DutyName = "ttl"
    interval_secs = 0.0

    def __init__(self, error: Exception) -> None:
        self._errors = [error]
        self.went_on = asyncio.Event()

    async def round(self) -> int:
        if self._errors:
            raise self._errors.pop()
        self.went_on.set()
        return 0


@pytest.mark.parametrize("error", [psycopg.OperationalError("lost"), OSError("lost")], ids=str)
async def test_a_lost_connection_of_either_driver_costs_a_round(error: Exception) -> None:
    duty = Failing(error)
    rounds = asyncio.create_task(perform(duty, Metrics()))
    going_on = asyncio.create_task(duty.went_on.wait())
    await asyncio.wait({rounds, going_on}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    rounds.cancel()
    assert duty.went_on.is_set()
