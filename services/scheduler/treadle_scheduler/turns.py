"""Turns: admits runs whose turn it is where no worker and no API process has (`treadle.operations.turns`).

They do so as they work. What is left to this are those who wait for time to pass (`starts_per_minute`), and what slipped through:
a process that died between a run and its admission, or knows nothing of turns.
"""

from __future__ import annotations

from treadle.db.turns import TurnRows
from treadle.operations.turns import Turns
from treadle.telemetry.metrics import Duty as DutyName


class TurnDuty:
    """Looks for runs whose turn it is, on all routes."""

    name: DutyName = "turns"
    interval_secs = 1.0

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def round(self) -> int:
        """Admit as many as there is room for now."""
        return await self._turns.admit_all()


class NeedlessTurns:
    """Drops what waits for a turn and needs none: its run has begun after another one of its thread, or was cancelled."""

    name: DutyName = "needless_turns"

    def __init__(self, rows: TurnRows, interval_secs: float) -> None:
        self._rows = rows
        self.interval_secs = interval_secs

    async def round(self) -> int:
        return await self._rows.forget_what_needs_none()
