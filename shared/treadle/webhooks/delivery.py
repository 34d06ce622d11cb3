"""Delivering webhooks: take what is owed, send it, write down what came of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from treadle.db.pool import postgres_errors
from treadle.db.webhooks import Owed, State, Webhooks
from treadle.errors import Unavailable
from treadle.telemetry.metrics import Metrics
from treadle.webhooks.payload import payload
from treadle.webhooks.retries import Retries, Verdict
from treadle.webhooks.sender import Answer, WebhookSender

log = logging.getLogger(__name__)

STATES: Mapping[Verdict, State] = {
    "delivered": "delivered",
    "retry": "owed",
    "refused": "failed",
    "failed": "failed",
}


class Delivery:
    """Makes attempts, each of which is on record before it begins.

    Args:
        lease_secs: longer than an attempt can take; after it, another one may begin.
    """

    def __init__(
        self, webhooks: Webhooks, sender: WebhookSender, retries: Retries, lease_secs: float, metrics: Metrics
    ) -> None:
        self._webhooks = webhooks
        self._sender = sender
        self._retries = retries
        self._lease_secs = lease_secs
        self._metrics = metrics

    async def take_due(self, limit: int) -> list[Owed]:
        """What is due now, each for one attempt."""
        return await self._webhooks.take_due(self._lease_secs, limit)

    async def for_run(self, run_id: UUID) -> None:
        """The first attempt for a run that has just ended. Whatever becomes of it, it is in Postgres."""
        try:
            with postgres_errors("taking a webhook"):
                owed = await self._webhooks.take_of_run(run_id, self._lease_secs)
        except Unavailable as error:
            log.warning("the webhook of run %s is left to the scheduler: %s", run_id, error)
            return
        for each in owed:
            await self.attempt(each)

    async def attempt(self, owed: Owed) -> None:
        """One attempt with what has been taken."""
        body = payload(owed.run, owed.values, datetime.now(UTC))
        answer = await self._sender.send(owed.url, owed.webhook_id, body)
        verdict, pause = self._retries.judge(answer, owed.attempts, owed.age_secs)
        self._metrics.webhooks[verdict].inc()
        try:
            with postgres_errors("writing down an attempt to deliver a webhook"):
                await self._webhooks.settle(
                    owed,
                    STATES[verdict],
                    secs=answer.secs,
                    status=answer.status,
                    error=answer.error,
                    retry_secs=pause,
                )
        except Unavailable as error:
            log.warning("the webhook of run %s will be sent again: %s", owed.run_id, error)
            return
        _tell(owed, answer, verdict, pause)


def _tell(owed: Owed, answer: Answer, verdict: Verdict, pause: float | None) -> None:
    """The log has no URLs: they hold tokens."""
    what = f"answered {answer.status}" if answer.error is None else answer.error
    text = f"webhook {owed.webhook_id} of run {owed.run_id}, attempt {owed.attempts}: {what}"
    if verdict == "delivered":
        log.info("%s", text)
    elif pause is not None:
        log.warning("%s; the next attempt comes in %.0f seconds", text, pause)
    else:
        log.error("%s; it is given up", text)
