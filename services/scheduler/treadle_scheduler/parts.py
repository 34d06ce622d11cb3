"""The scheduler's connections, and what its duties work with: built here, once, and handed on."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from treadle.checkpoint.pool import checkpoint_pool
from treadle.db.assistants import Assistants
from treadle.db.pool import Pool, connect_pool
from treadle.db.runs import Runs
from treadle.messaging.connection import Nats
from treadle.messaging.delays import Schedules
from treadle.messaging.wakeups import WakeupPublisher
from treadle.operations.assistants import AssistantChoice
from treadle.operations.cancel import Cancellation
from treadle.operations.create import Creation
from treadle.patience import patiently
from treadle.service import Given
from treadle.streaming import StreamLimits, connect
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.server import serve_metrics
from treadle.webhooks.build import webhook_policy

POOL_SIZE = 4
REMOVALS_AT_ONCE = 2


@dataclass(frozen=True)
class Parts:
    """What the duties work with."""

    given: Given
    holder: str
    metrics: Metrics
    pool: Pool
    # Apart, so that no slow removal keeps the lead, a tick or a wake-up waiting for a connection.
    removals: Pool
    nats: Nats
    publisher: WakeupPublisher
    saver: AsyncPostgresSaver
    creation: Creation


@asynccontextmanager
async def build(given: Given) -> AsyncGenerator[Parts]:
    """Connect to the servers; waits for Postgres and NATS, not for Redis."""
    settings, metrics = given.settings, Metrics()
    holder = f"{socket.gethostname()}-{os.getpid()}"
    async with AsyncExitStack() as stack:
        if (server := serve_metrics(metrics, settings.metrics_port)) is not None:
            stack.callback(server.close)

        async def postgres(size: int) -> Pool:
            pool = await patiently(
                "Postgres", lambda: connect_pool(settings.database_uri, size=size, service="scheduler")
            )
            stack.push_async_callback(pool.close)
            return pool

        pool, removals = await postgres(POOL_SIZE), await postgres(REMOVALS_AT_ONCE)
        nats = Nats(settings.nats_url, name=f"scheduler-{holder}")
        await nats.connect()
        stack.push_async_callback(nats.close)
        redis = connect(settings.redis_uri)
        stack.push_async_callback(redis.aclose)
        checkpoints = await patiently(
            "Postgres",
            lambda: stack.enter_async_context(
                checkpoint_pool(settings.database_uri, size=1, service="scheduler")
            ),
        )
        publisher, runs = WakeupPublisher(nats, settings.treadle_nats_replicas), Runs(pool)
        creation = Creation(
            AssistantChoice(given.config.graphs.keys(), Assistants(pool)),
            runs,
            publisher,
            Schedules(nats, settings.treadle_nats_replicas, wanted=settings.treadle_nats_schedules == "auto"),
            Cancellation(runs, redis, StreamLimits.of(settings)),
            None if given.config.http.disable_webhooks else webhook_policy(given.config, settings),
            metrics,
            given.tracing,
            given.config.checkpointer.thread_ttl.default,
        )
        saver = AsyncPostgresSaver(checkpoints)
        yield Parts(given, holder, metrics, pool, removals, nats, publisher, saver, creation)
