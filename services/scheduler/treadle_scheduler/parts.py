"""The scheduler's connections, and what its duties work with: built here, once, and handed on."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.checkpoint.pruning import PruningSaver
from treadle.db.assistants import Assistants
from treadle.db.opening import open_pool, postgres_at, refusals
from treadle.db.pool import Pool
from treadle.db.runs import Runs
from treadle.graphs.tenants import Shares
from treadle.messaging.access import NatsAccess
from treadle.messaging.connection import Nats
from treadle.messaging.delays import Schedules
from treadle.messaging.wakeups import WakeupPublisher
from treadle.operations.approvals import Approvals
from treadle.operations.assistants import AssistantChoice
from treadle.operations.cancel import Cancellation
from treadle.operations.create import Creation
from treadle.operations.first_wakeups import FirstWakeups
from treadle.operations.priorities import Priorities
from treadle.operations.turns import Turns
from treadle.operations.wakeups import Wakeups, turns_of
from treadle.patience import open_patiently
from treadle.readiness import Readiness
from treadle.service import Given
from treadle.streaming import StreamLimits, connect
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.server import serve_metrics
from treadle.webhooks.policy import WebhookPolicy

POOL_SIZE = 4
REMOVALS_AT_ONCE = 2


@dataclass(frozen=True)
class Parts:
    """What the duties work with."""

    given: Given
    holder: str
    metrics: Metrics
    readiness: Readiness
    pool: Pool
    # Apart, so that no slow removal keeps the lead, a tick or a wake-up waiting for a connection.
    removals: Pool
    nats: Nats
    publisher: WakeupPublisher
    wakeups: Wakeups
    turns: Turns
    saver: PruningSaver
    creation: Creation


@asynccontextmanager
async def build(given: Given) -> AsyncGenerator[Parts]:
    """Connect to the servers; waits for Postgres, not for NATS or Redis."""
    settings, metrics = given.settings, Metrics()
    holder = f"{socket.gethostname()}-{os.getpid()}"
    async with AsyncExitStack() as stack:
        readiness = Readiness(needed=("postgres",), useful=("nats",))
        if (server := serve_metrics(metrics, readiness, settings.metrics_port)) is not None:
            stack.callback(server.close)

        async def attempt(opened: AsyncExitStack) -> tuple[Pool, Pool, ConnectionPool]:
            dsn = settings.database_uri
            with refusals():
                return (
                    await open_pool(opened, dsn, POOL_SIZE, "scheduler"),
                    await open_pool(opened, dsn, REMOVALS_AT_ONCE, "scheduler"),
                    await opened.enter_async_context(checkpoint_pool(dsn, size=1, service="scheduler")),
                )

        pool, removals, checkpoints = await open_patiently(
            postgres_at(settings.database_uri), stack, attempt, readiness.teller("postgres")
        )
        nats = Nats(NatsAccess.of(settings), name=f"scheduler-{holder}", tell=readiness.teller("nats"))
        await stack.enter_async_context(nats.kept_up())
        redis = connect(settings.redis_uri)
        stack.push_async_callback(redis.aclose)
        publisher, runs = WakeupPublisher(nats, settings.treadle_nats_replicas), Runs(pool)
        wakeups = Wakeups(publisher, turns_of(given.config, settings, pool, nats))
        turns = Turns(pool, nats, publisher, Shares(given.config.tenants))
        creation = Creation(
            AssistantChoice(given.config.graphs.keys(), Assistants(pool)),
            runs,
            FirstWakeups(wakeups, metrics, given.tracing),
            Schedules(nats, settings.treadle_nats_replicas, wanted=settings.treadle_nats_schedules == "auto"),
            Cancellation(runs, redis, StreamLimits.of(settings)),
            None if given.config.http.disable_webhooks else WebhookPolicy.of(given.config, settings),
            metrics,
            given.tracing,
            given.config.checkpointer.thread_ttl.default,
            priorities=Priorities.of(given.config, pool),
            approvals=Approvals.of(given.config.approvals, pool),
        )
        saver = PruningSaver(checkpoints)
        yield Parts(
            given,
            holder,
            metrics,
            readiness,
            pool,
            removals,
            nats,
            publisher,
            wakeups,
            turns,
            saver,
            creation,
        )
