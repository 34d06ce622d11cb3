"""The worker, put together: connections, the lease keeper, the slots, and the drain."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from contextlib import AsyncExitStack
from typing import NamedTuple
from uuid import UUID

import nats.js.errors
from nats.js import JetStreamContext

from treadle.address import without_password
from treadle.db.runs import Lease
from treadle.messaging.access import NatsAccess
from treadle.messaging.connection import NATS_ERRORS, Nats, no_jetstream
from treadle.messaging.delays import due_inbox, ensure_delays, ensure_due_consumer, keeps_schedules
from treadle.messaging.wakeups import (
    WakeupPublisher,
    ensure_consumer,
    ensure_stream,
    wakeup_inbox,
)
from treadle.operations.wakeups import Wakeups, turns_of
from treadle.patience import Reminder
from treadle.readiness import Readiness
from treadle.service import Given
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.server import serve_metrics
from treadle.webhooks.build import webhook_delivery, webhook_sender
from treadle.webhooks.outbox import Outbox
from treadle_worker import cancels
from treadle_worker.appetite import Appetite
from treadle_worker.drain import Drain
from treadle_worker.due import DueRuns
from treadle_worker.equipment import NEEDED, USEFUL, Equipment, end_what_does_not_end, equip
from treadle_worker.slot import Slot, Work
from treadle_worker.solitude import Solitude
from treadle_worker.spans import Spans

log = logging.getLogger(__name__)

ENSURE_RETRY_SECS = 1.0
# Delayed runs that one worker forwards at the same time.
DUE_AT_ONCE = 8
WEBHOOKS_AT_ONCE = 32
WEBHOOKS_WAITING = 1000
# What is not delivered when the worker stops is the scheduler's.
LAST_WEBHOOKS_SECS = 3.0


def worker_name() -> str:
    """Tells workers apart in leases and logs, also those that had the same host and number one after the other."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


class Built(NamedTuple):
    """What a worker works with."""

    equipment: Equipment
    slots: list[Slot]
    due: list[DueRuns]
    webhooks: Outbox[UUID]
    wakeups: Wakeups
    appetite: Appetite


class Worker:
    """One worker process: N_JOBS_PER_WORKER slots on one route."""

    def __init__(self, given: Given) -> None:
        settings = given.settings
        self._given = given
        self._settings = settings
        self._name = worker_name()
        self._lease = Lease(self._name, settings.treadle_lease_secs, settings.bg_job_max_retries)
        self._metrics = Metrics()
        self._sender = webhook_sender(given.config, settings)
        self._drain = Drain(settings.bg_job_shutdown_grace_period_secs)
        self._schedules = asyncio.Event()
        self._readiness = Readiness(NEEDED, USEFUL)
        self._tell_nats = self._readiness.teller("nats")
        self._nats = Nats(
            NatsAccess.of(settings), name=self._name, on_connect=self._ensure_queue, tell=self._tell_nats
        )

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT, then drain."""
        self._drain.listen()
        built = await self._serve()
        log.info("%s stopped", self._name)
        if built is not None:
            end_what_does_not_end(built.equipment.executor, self._given.tracing)

    async def _serve(self) -> Built | None:
        async with AsyncExitStack() as stack:
            built = await self._drain.unless_started(self._build(stack))
            if built is None:
                return None
            executor, bus = built.equipment.executor, built.equipment.bus
            async with asyncio.TaskGroup() as tasks:
                listener = tasks.create_task(cancels.listen(bus, executor), name="cancels")
                delivering = tasks.create_task(built.webhooks.run(), name="webhooks")
                forwarding = [
                    tasks.create_task(due.run(), name=f"due-{n}") for n, due in enumerate(built.due)
                ]
                telling = tasks.create_task(built.wakeups.run(), name="wake-ups")
                eating = tasks.create_task(built.appetite.run(), name="appetite")
                tending = tasks.create_task(built.equipment.savers.tend(), name="checkpoints")
                serving = [
                    tasks.create_task(slot.serve(), name=f"slot-{n}") for n, slot in enumerate(built.slots)
                ]
                log.info(
                    "%s ready: %s slots on route %s",
                    self._name,
                    len(built.slots),
                    self._settings.treadle_route,
                )
                await self._drain.started.wait()
                await self._drain.finish(executor, serving)
                for task in (listener, telling, eating, tending, *forwarding):
                    task.cancel()
                built.webhooks.close()
                await asyncio.wait({delivering}, timeout=LAST_WEBHOOKS_SECS)
                delivering.cancel()
        return built

    async def _build(self, stack: AsyncExitStack) -> Built:
        settings = self._settings
        if (server := serve_metrics(self._metrics, self._readiness, settings.metrics_port)) is not None:
            stack.callback(server.close)
        equipment = await equip(
            stack,
            self._given,
            self._name,
            self._metrics,
            pool_size=settings.treadle_db_pool_size,
            lease=self._lease,
            drain=self._drain,
            runs_at_once=settings.n_jobs_per_worker,
            readiness=self._readiness,
        )
        await self._nats.connect()
        stack.push_async_callback(self._nats.close)
        delivery = webhook_delivery(equipment.pool, self._sender, settings, self._metrics)
        webhooks = Outbox[UUID](delivery.for_run, at_once=WEBHOOKS_AT_ONCE, waiting=WEBHOOKS_WAITING)
        spans = Spans(self._given.tracing, settings.treadle_route)
        work = self._work(equipment, spans, webhooks)
        turns = turns_of(self._given.config, settings, equipment.pool, self._nats)
        wakeups = Wakeups(WakeupPublisher(self._nats, settings.treadle_nats_replicas), turns)
        appetite = Appetite(turns, settings.treadle_route, settings.n_jobs_per_worker)
        slots = [
            Slot(
                wakeup_inbox(self._nats.client, settings.treadle_route),
                work,
                spans,
                self._drain.started,
                appetite,
            )
            for _ in range(settings.n_jobs_per_worker)
        ]
        due = [
            DueRuns(
                due_inbox(self._nats.client, settings.treadle_route),
                equipment.pool,
                wakeups,
                self._metrics,
                self._schedules,
            )
            for _ in range(DUE_AT_ONCE)
        ]
        return Built(equipment, slots, due, webhooks, wakeups, appetite)

    def _work(self, equipment: Equipment, spans: Spans, webhooks: Outbox[UUID]) -> Work:
        settings = self._settings
        solitude = Solitude(
            self._name,
            equipment.runs,
            self._drain,
            self._metrics,
            timeout_secs=settings.bg_job_timeout_secs,
        )
        return Work(
            equipment.runs,
            equipment.leases,
            equipment.executor,
            self._lease,
            self._metrics,
            spans,
            webhooks,
            self._drain,
            solitude,
        )

    async def _ensure_queue(self) -> None:
        """Make the stream and this route's consumer; after NATS lost its data as well as at the first start."""
        stream = self._nats.client.jetstream()
        reminder = Reminder(f"the queue in NATS at {without_password(self._settings.nats_url)}")
        while self._nats.connected:
            try:
                await ensure_stream(stream, self._settings.treadle_nats_replicas)
                await ensure_consumer(
                    stream,
                    self._settings.treadle_route,
                    lease_secs=self._settings.treadle_lease_secs,
                    max_pending=self._settings.treadle_max_ack_pending,
                )
                await self._ensure_schedules(stream)
                reminder.over()
                return
            except NATS_ERRORS as error:
                self._tell_nats(no_jetstream(error))
                reminder.waiting(no_jetstream(error))
                await asyncio.sleep(ENSURE_RETRY_SECS)

    async def _ensure_schedules(self, stream: JetStreamContext) -> None:
        """Listen for what NATS says is due, if it keeps schedules; the scheduler wakes delayed runs otherwise.

        Raises:
            nats.js.errors.ServiceUnavailableError: it cannot say at the moment, while a leader is elected for example.
        """
        self._schedules.clear()
        settings = self._settings
        if settings.treadle_nats_schedules == "off" or not keeps_schedules(self._nats):
            return
        try:
            if await ensure_delays(stream, settings.treadle_nats_replicas):
                await ensure_due_consumer(
                    stream, settings.treadle_route, max_pending=settings.treadle_max_ack_pending
                )
                self._schedules.set()
        except nats.js.errors.ServiceUnavailableError:
            raise
        except nats.js.errors.APIError as error:
            log.warning("NATS keeps no schedules for delayed runs, the scheduler will wake them: %r", error)
