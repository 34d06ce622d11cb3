"""The scheduler, put together: the duties, and the leader that performs them."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence

from treadle.checkpoint.pruning import Pruning
from treadle.db.leader import Leadership
from treadle.db.queue import Queue
from treadle.db.store import StoreItems
from treadle.db.threads import Threads
from treadle.db.webhooks import Webhooks
from treadle.errors import Unavailable
from treadle.service import Given
from treadle.webhooks.build import webhook_delivery, webhook_sender
from treadle_scheduler.delays import Delays
from treadle_scheduler.duty import Duty
from treadle_scheduler.expiry import Expiry
from treadle_scheduler.forgetting import Forgetting
from treadle_scheduler.leader import Leader
from treadle_scheduler.lifetimes import Lifetimes
from treadle_scheduler.parts import Parts, build
from treadle_scheduler.sweeper import Sweeper
from treadle_scheduler.webhooks import WebhookDuty, WebhookRecords

log = logging.getLogger(__name__)


async def run(given: Given) -> None:
    """Schedule until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    working = asyncio.create_task(_work(given), name="scheduler")
    stop = asyncio.create_task(stopping.wait(), name="stopping")
    await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    working.cancel()
    try:
        await working
    except asyncio.CancelledError:
        log.info("scheduler stopped")
    except Unavailable as error:
        log.warning("%s", error)


async def _work(given: Given) -> None:
    sender = webhook_sender(given.config, given.settings)
    async with build(given) as parts, asyncio.TaskGroup() as tasks:
        settings = given.settings
        webhooks = WebhookDuty(
            webhook_delivery(parts.pool, sender, settings, parts.metrics),
            settings.treadle_webhook_interval_secs,
        )
        tasks.create_task(webhooks.outbox.run(), name="webhooks")
        lead = Leadership(parts.pool, "scheduler", parts.holder, settings.treadle_leader_lease_secs)
        log.info("ready")
        duties = [*_duties(parts), webhooks]
        await Leader(lead, settings.treadle_leader_lease_secs, duties, parts.metrics).run()


def _duties(parts: Parts) -> Sequence[Duty]:
    settings, config = parts.given.settings, parts.given.config
    queue, threads = Queue(parts.pool), Threads(parts.pool)
    return [
        Sweeper(
            queue,
            parts.publisher,
            parts.metrics,
            settings.treadle_sweep_interval_secs,
            settings.treadle_sweep_batch,
        ),
        Delays(queue, parts.publisher, parts.metrics, settings.treadle_delay_interval_secs),
        Expiry(threads, settings.treadle_stateless_ttl_secs),
        Lifetimes(threads, Pruning(parts.pool, parts.saver), config.checkpointer.thread_ttl),
        Forgetting(StoreItems(parts.pool), config.store.ttl),
        WebhookRecords(Webhooks(parts.pool), settings.treadle_webhook_keep_secs),
    ]
