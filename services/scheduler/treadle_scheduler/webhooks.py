"""Delivers webhooks that are due: those whose first attempt failed, or whose worker died before it made one."""

from __future__ import annotations

from treadle.db.webhooks import Owed, Webhooks
from treadle.telemetry.metrics import Duty as DutyName
from treadle.webhooks.delivery import Delivery
from treadle.webhooks.outbox import Outbox

AT_ONCE = 64
BATCH = 1000


class WebhookDuty:
    """Begins an attempt for each webhook that is due. A slow receiver keeps one place, and not the round."""

    name: DutyName = "webhook"

    def __init__(self, delivery: Delivery, interval_secs: float) -> None:
        self._delivery = delivery
        self.interval_secs = interval_secs
        self.outbox = Outbox[Owed](delivery.attempt, at_once=AT_ONCE, waiting=0)

    async def round(self) -> int:
        """Take as many as there are places for."""
        if not self.outbox.room:
            return 0
        return sum([self.outbox.put(owed) for owed in await self._delivery.take_due(self.outbox.room)])


class WebhookRecords:
    """Removes the records of webhooks that were delivered, or given up, long ago."""

    name: DutyName = "forget_webhooks"
    interval_secs = 60.0

    def __init__(self, webhooks: Webhooks, keep_secs: float) -> None:
        self._webhooks = webhooks
        self._keep_secs = keep_secs

    async def round(self) -> int:
        """Remove batch after batch until none is left."""
        removed = 0
        while gone := await self._webhooks.forget(self._keep_secs, BATCH):
            removed += gone
        return removed
