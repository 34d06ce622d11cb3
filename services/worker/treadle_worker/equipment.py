"""What a process needs to execute runs: connections, the lease keeper, the executor. Workers and solitary attempts alike."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

from treadle.checkpoint.savers import Savers
from treadle.db.pool import Pool
from treadle.db.runs import Lease, Runs
from treadle.messaging.access import NatsAccess
from treadle.operations.approvals import Approvals
from treadle.readiness import Readiness
from treadle.service import Given
from treadle.storage import open_storage
from treadle.streaming import CancelBus, EventPublisher, StreamLimits, connect
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle_worker.drain import Drain
from treadle_worker.execution import Executor, Parts
from treadle_worker.leases import LeaseKeeper
from treadle_worker.threads import Threads
from treadle_worker.watchdog import EX_SOFTWARE, Addresses, Limits, Watchdog

log = logging.getLogger(__name__)

# What a worker cannot work without, and what it can.
NEEDED, USEFUL = ("postgres", "nats"), ("redis",)


@dataclass(frozen=True)
class Equipment:
    """Open for as long as the stack that it was opened on."""

    pool: Pool
    savers: Savers
    runs: Runs
    leases: LeaseKeeper
    executor: Executor
    bus: CancelBus


async def equip(
    stack: AsyncExitStack,
    given: Given,
    name: str,
    metrics: Metrics,
    *,
    lease: Lease,
    drain: Drain,
    runs_at_once: int,
    pool_size: int,
    readiness: Readiness | None = None,
) -> Equipment:
    """Open everything, waiting for the servers for as long as that takes.

    Args:
        name: tells this process apart in leases and logs.
        lease: what this process claims runs with.
        drain: is begun when so much user code does not end that this process had better be started anew.
        pool_size: connections of each of the two pools at the most.
        readiness: is told how the servers are.
    """
    settings, readiness = given.settings, readiness or Readiness(NEEDED, USEFUL)
    storage = await open_storage(
        stack,
        given,
        "worker",
        pool_size=pool_size,
        observe=metrics.checkpoint_write.observe,
        tell=readiness.teller("postgres"),
    )
    pool, savers, store = storage.pool, storage.savers, storage.store
    redis = connect(settings.redis_uri)
    stack.push_async_callback(redis.aclose)
    limits = StreamLimits.of(settings)
    publisher = await stack.enter_async_context(EventPublisher(redis, limits))
    watchdog = Watchdog(
        Addresses(settings.database_uri, settings.redis_uri),
        lease,
        Limits(settings.bg_job_timeout_secs, settings.treadle_stuck_secs),
        drain,
    )
    watchdog.listen()
    leases = LeaseKeeper(
        settings.database_uri,
        NatsAccess.of(settings),
        name,
        settings.treadle_lease_secs,
        metrics,
        readiness.teller("postgres"),
        watchdog.watch,
    )
    await leases.start()
    stack.push_async_callback(leases.close)
    runs = Runs(pool)
    threads = Threads(runs_at_once)
    asyncio.get_running_loop().set_default_executor(threads)
    executor = Executor(
        Parts(
            registry=given.registry,
            savers=savers,
            store=store,
            runs=runs,
            redis=redis,
            publisher=publisher,
            limits=limits,
            leases=leases,
            metrics=metrics,
            tracing=given.tracing,
            timeout_secs=settings.bg_job_timeout_secs,
            threads=threads,
            approvals=Approvals.of(given.config.approvals, pool),
            most_left_behind=runs_at_once,
            wind_down=drain.begin,
        )
    )
    return Equipment(pool, savers, runs, leases, executor, CancelBus(redis, readiness.teller("redis")))


def end_what_does_not_end(executor: Executor, tracing: Tracing) -> None:
    """End the process at once, if an ordinary end would wait for threads or tasks that never end."""
    if not executor.left_behind:
        return
    log.warning("%s pieces of user code that do not end are ended with the process", executor.left_behind)
    tracing.shutdown()
    os._exit(EX_SOFTWARE if executor.worn_out() else 0)
