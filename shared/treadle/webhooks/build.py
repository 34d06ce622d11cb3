"""The parts of a process that delivers webhooks, put together from its settings and langgraph.json."""

from __future__ import annotations

import os

from treadle.db.pool import Pool
from treadle.db.webhooks import Webhooks
from treadle.graphs.config import Config
from treadle.graphs.webhooks import filled_headers
from treadle.settings import Settings
from treadle.telemetry.metrics import Metrics
from treadle.webhooks.delivery import Delivery
from treadle.webhooks.policy import WebhookPolicy
from treadle.webhooks.retries import Retries
from treadle.webhooks.sender import WebhookSender
from treadle.webhooks.signature import secrets

# An attempt is over by then, and what came of it is written down, unless its process has died.
LEASE_MARGIN_SECS = 2.0


def webhook_sender(config: Config, settings: Settings) -> WebhookSender:
    """What makes attempts.

    Raises:
        ConfigError: a setting cannot be used, or a variable that a header names is not set.
    """
    return WebhookSender(
        WebhookPolicy.of(config, settings),
        headers=filled_headers(config.path, config.webhooks, {**config.env, **os.environ}),
        keys=secrets(settings.treadle_webhook_secret),
        timeout_secs=settings.treadle_webhook_timeout_secs,
    )


def webhook_delivery(pool: Pool, sender: WebhookSender, settings: Settings, metrics: Metrics) -> Delivery:
    """What delivers webhooks from a database."""
    retries = Retries(
        most_attempts=settings.treadle_webhook_max_attempts,
        longest_secs=settings.treadle_webhook_max_age_secs,
        first_pause_secs=settings.treadle_webhook_retry_secs,
    )
    lease_secs = settings.treadle_webhook_timeout_secs + LEASE_MARGIN_SECS
    return Delivery(Webhooks(pool), sender, retries, lease_secs, metrics)
