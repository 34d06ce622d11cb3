"""Delivers webhooks that are due: those whose first attempt failed, or whose worker died before it made one."""

from __future__ import annotations

from treadle.db.webhooks import Owed
from treadle.telemetry.metrics import Duty as DutyName
from treadle.webhooks.delivery import Delivery
from treadle.webhooks.outbox import Outbox


class WebhookDuty:
    """Begins an attempt for each webhook that is due. A slow receiver keeps one place, and not the round."""

    name: DutyName = "webhook"

    def __init__(self, delivery: Delivery, interval_secs: float, at_once: int) -> None:
        self._delivery = delivery
        self.interval_secs = interval_secs
        self.outbox = Outbox[Owed](delivery.attempt, at_once=at_once, waiting=0)

    async def round(self) -> int:
        """Take as many as there are places for."""
        if not self.outbox.room:
            return 0
        return sum([self.outbox.put(owed) for owed in await self._delivery.take_due(self.outbox.room)])
