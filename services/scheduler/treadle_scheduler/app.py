"""The scheduler, put together."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from treadle.checkpoint.pool import checkpoint_pool
from treadle.checkpoint.pruning import Pruning
from treadle.db.leader import Leadership
from treadle.db.pool import connect_pool
from treadle.db.queue import Queue
from treadle.db.store import StoreItems
from treadle.db.threads import Threads
from treadle.db.webhooks import Webhooks
from treadle.errors import Unavailable
from treadle.messaging.connection import Nats
from treadle.messaging.wakeups import WakeupPublisher
from treadle.patience import patiently
from treadle.service import Given
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.server import serve_metrics
from treadle.webhooks.build import webhook_delivery, webhook_sender
from treadle_scheduler.delays import Delays
from treadle_scheduler.duty import Duty
from treadle_scheduler.expiry import Expiry
from treadle_scheduler.forgetting import Forgetting
from treadle_scheduler.leader import Leader
from treadle_scheduler.lifetimes import Lifetimes
from treadle_scheduler.sweeper import Sweeper
from treadle_scheduler.webhooks import WebhookDuty, WebhookRecords

log = logging.getLogger(__name__)

POOL_SIZE = 4


async def run(given: Given) -> None:
    """Schedule until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        working = asyncio.create_task(_work(given, stack), name="scheduler")
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


async def _work(given: Given, stack: AsyncExitStack) -> None:
    settings = given.settings
    metrics, sender = Metrics(), webhook_sender(given.config, settings)
    if (server := serve_metrics(metrics, settings.metrics_port)) is not None:
        stack.callback(server.close)
    pool = await patiently(
        "Postgres", lambda: connect_pool(settings.database_uri, size=POOL_SIZE, service="scheduler")
    )
    stack.push_async_callback(pool.close)
    holder = f"{socket.gethostname()}-{os.getpid()}"
    nats = Nats(settings.nats_url, name=f"scheduler-{holder}")
    await nats.connect()
    stack.push_async_callback(nats.close)
    publisher = WakeupPublisher(nats, settings.treadle_nats_replicas)
    checkpoints = await stack.enter_async_context(
        checkpoint_pool(settings.database_uri, size=1, service="scheduler")
    )
    queue, threads = Queue(pool), Threads(pool)
    webhooks = WebhookDuty(
        webhook_delivery(pool, sender, settings, metrics), settings.treadle_webhook_interval_secs
    )
    duties: Sequence[Duty] = [
        Sweeper(
            queue, publisher, metrics, settings.treadle_sweep_interval_secs, settings.treadle_sweep_batch
        ),
        Delays(queue, publisher, metrics, settings.treadle_delay_interval_secs),
        Expiry(threads, settings.treadle_stateless_ttl_secs),
        Lifetimes(
            threads, Pruning(pool, AsyncPostgresSaver(checkpoints)), given.config.checkpointer.thread_ttl
        ),
        Forgetting(StoreItems(pool), given.config.store.ttl),
        webhooks,
        WebhookRecords(Webhooks(pool), settings.treadle_webhook_keep_secs),
    ]
    log.info("ready")
    lead = Leadership(pool, "scheduler", holder, settings.treadle_leader_lease_secs)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(webhooks.outbox.run(), name="webhooks")
        await Leader(lead, settings.treadle_leader_lease_secs, duties, metrics).run()
