"""The scheduler, put together: the duties, and the leader that performs them."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from treadle.checkpoint.pruning import Pruning
from treadle.db.audit import AuditRows
from treadle.db.dead_letters import DeadRuns
from treadle.db.leader import Leadership
from treadle.db.queue import Queue
from treadle.db.requests import RequestNames
from treadle.db.retention import RunRecords
from treadle.db.run_events import RunEventOutbox
from treadle.db.store import StoreItems
from treadle.db.threads import Threads
from treadle.db.ticks import Ticks
from treadle.db.turns import TurnRows
from treadle.db.webhooks import Webhooks
from treadle.messaging.run_events import RunEventPublisher, stream_config
from treadle.service import Given
from treadle.telemetry.metrics import Duty as DutyName
from treadle.webhooks.build import webhook_delivery, webhook_sender
from treadle_scheduler.crons import CronDuty
from treadle_scheduler.delays import Delays
from treadle_scheduler.duty import Duty
from treadle_scheduler.leader import Leader
from treadle_scheduler.lifetimes import Lifetimes
from treadle_scheduler.parts import Parts, build
from treadle_scheduler.removal import Removal
from treadle_scheduler.run_events import RunEvents
from treadle_scheduler.sweeper import Leaseless, Untold, Waking
from treadle_scheduler.turns import NeedlessTurns, TurnDuty
from treadle_scheduler.webhooks import WebhookDuty

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


async def _work(given: Given) -> None:
    sender = webhook_sender(given.config, given.settings)
    async with build(given) as parts, asyncio.TaskGroup() as tasks:
        settings = given.settings
        webhooks = WebhookDuty(
            webhook_delivery(parts.pool, sender, settings, parts.metrics),
            settings.treadle_webhook_interval_secs,
            settings.treadle_webhook_at_once,
        )
        tasks.create_task(webhooks.outbox.run(), name="webhooks")
        tasks.create_task(parts.wakeups.run(), name="wake-ups")
        lead = Leadership(parts.pool, "scheduler", parts.holder, settings.treadle_leader_lease_secs)
        log.info("ready")
        duties = [*_duties(parts), *_removals(parts), webhooks]
        tell = parts.readiness.teller("postgres")
        await Leader(lead, settings.treadle_leader_lease_secs, duties, parts.metrics, tell).run()


def _duties(parts: Parts) -> Sequence[Duty]:
    settings, config = parts.given.settings, parts.given.config
    queue, waking = Queue(parts.pool), Waking(parts.publisher, parts.metrics)
    sweeps = settings.treadle_sweep_interval_secs, settings.treadle_sweep_batch
    return [
        Untold(queue, waking, *sweeps),
        Leaseless(queue, waking, *sweeps),
        Delays(queue, parts.wakeups, parts.metrics, settings.treadle_delay_interval_secs),
        TurnDuty(parts.turns),
        NeedlessTurns(TurnRows(parts.pool), settings.treadle_sweep_interval_secs),
        _run_events(parts),
        Lifetimes(
            Threads(parts.removals), Pruning(parts.removals, parts.saver), config.checkpointer.thread_ttl
        ),
        CronDuty(
            Ticks(parts.pool),
            parts.creation,
            parts.metrics,
            interval_secs=settings.treadle_cron_interval_secs,
            batch=settings.treadle_cron_batch,
            grace_secs=settings.treadle_cron_grace_secs,
        ),
    ]


def _removals(parts: Parts) -> Sequence[Duty]:
    """What is removed when it is over; docs/retention.md tells it to users."""
    settings, store = parts.given.settings, parts.given.config.store
    interval_secs, batch = settings.treadle_retention_interval_secs, settings.treadle_retention_batch

    def removal(name: DutyName, remove: Callable[[int], Awaitable[int]]) -> Duty:
        return Removal(name, remove, interval_secs, batch)

    threads, webhooks, ticks = Threads(parts.removals), Webhooks(parts.removals), Ticks(parts.removals)
    names = RequestNames(parts.removals)
    letters = DeadRuns(parts.removals)
    removals = [
        removal("expire", partial(threads.forget_gone, settings.treadle_stateless_ttl_secs)),
        Removal("forget", StoreItems(parts.removals).expire, store.sweep_interval_secs, batch),
        removal("forget_requests", partial(names.forget, settings.treadle_request_keep_secs)),
        removal("forget_ticks", partial(ticks.forget, settings.treadle_tick_keep_secs)),
        removal("forget_webhooks", partial(webhooks.forget, settings.treadle_webhook_keep_secs)),
        removal("forget_dead_letters", partial(letters.forget, settings.treadle_dead_letter_keep_secs)),
    ]
    if settings.treadle_audit_keep_secs:
        audit = AuditRows(parts.removals)
        removals.append(removal("forget_audit", partial(audit.forget, settings.treadle_audit_keep_secs)))
    if settings.treadle_run_keep_secs:
        # Whoever can still read a run's events finds the run.
        keep_secs = max(settings.treadle_run_keep_secs, settings.treadle_events_ttl_secs)
        removals.append(removal("forget_runs", partial(RunRecords(parts.removals).forget, keep_secs)))
    return removals


def _run_events(parts: Parts) -> RunEvents:
    settings = parts.given.settings
    age_secs = settings.treadle_run_events_max_age_secs
    config = stream_config(age_secs, settings.treadle_run_events_max_bytes, settings.treadle_nats_replicas)
    return RunEvents(
        RunEventOutbox(parts.pool),
        RunEventPublisher(parts.nats, config),
        parts.metrics,
        settings.treadle_run_events_interval_secs,
        age_secs,
    )
