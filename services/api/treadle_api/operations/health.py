"""The health of what the API depends on, and the numbers for monitoring."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

import redis.asyncio
from redis.exceptions import RedisError

from treadle.db.pool import Pool, is_busy, postgres_errors
from treadle.db.queue import Queue
from treadle.db.run_events import RunEventOutbox
from treadle.errors import Unavailable
from treadle.messaging.connection import Nats
from treadle.migrate import require_schema
from treadle.patience import OK
from treadle.readiness import NOT_YET
from treadle.telemetry.metrics import Backlog, Metrics

log = logging.getLogger(__name__)

CHECK_SECS = 2.0
LATE = f"no answer in {CHECK_SECS:g} seconds"
BUSY = f"no connection free in {CHECK_SECS:g} seconds: all are in use (TREADLE_DB_POOL_SIZE)"


class Dependencies:
    """Asks Postgres, NATS and Redis whether they are there, also while the API still waits for them.

    Attributes:
        postgres: what is wrong with Postgres, before there are connections to it.
    """

    def __init__(self, nats: Nats, redis: redis.asyncio.Redis) -> None:
        self.postgres = NOT_YET
        self._nats = nats
        self._redis = redis
        self._pool: Pool | None = None

    def waits_for_postgres(self, why: str) -> None:
        self.postgres = why

    def has_postgres(self, pool: Pool) -> None:
        self._pool = pool

    async def check(self) -> dict[str, str]:
        """`ok`, or what is wrong, for each dependency."""
        postgres, nats, redis_state = await asyncio.gather(
            self._postgres_state(), _state(self._nats.jetstream_state()), _state(self._redis_state())
        )
        return {"postgres": postgres, "nats": nats, "redis": redis_state}

    async def _postgres_state(self) -> str:
        if self._pool is None:
            return self.postgres
        state = await _state(_schema(self._pool))
        return BUSY if state == LATE and is_busy(self._pool) else state

    async def _redis_state(self) -> str:
        await self._redis.ping()
        return OK


async def _schema(pool: Pool) -> str:
    await require_schema(pool)
    return OK


class HealthCheck:
    """The health of what the API depends on, and its metrics."""

    def __init__(self, dependencies: Dependencies, pool: Pool, metrics: Metrics) -> None:
        self._dependencies = dependencies
        self._queue = Queue(pool)
        self._run_events = RunEventOutbox(pool)
        self._metrics = metrics

    async def check(self) -> dict[str, str]:
        """`ok`, or what is wrong, for each dependency."""
        return await self._dependencies.check()

    async def metrics(self) -> bytes:
        """Prometheus text, with the queue as it is now; without it when Postgres is away, or has no time for it."""
        try:
            with postgres_errors("measuring the queue"):
                async with asyncio.timeout(CHECK_SECS):
                    routes = await self._queue.depths()
                    self._metrics.run_events_waiting.set(await self._run_events.depth())
            self._metrics.set_backlog(
                {route.route: Backlog(route.depth, route.oldest_secs) for route in routes}
            )
        except Unavailable as error:
            log.warning("%s", error)
        return self._metrics.render()


async def _state(check: Awaitable[str]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECS):
            with postgres_errors("checking its health"):
                return await check
    except TimeoutError:
        return LATE
    except (Unavailable, RedisError, OSError) as error:
        return str(error)
