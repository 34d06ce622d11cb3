"""The health of what the API depends on, and the numbers for monitoring."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

import redis.asyncio
from redis.exceptions import RedisError

from treadle.db.pool import Pool, postgres_errors
from treadle.db.queue import Queue
from treadle.db.run_events import RunEventOutbox
from treadle.errors import Unavailable
from treadle.messaging.connection import Nats
from treadle.telemetry.metrics import Backlog, Metrics

log = logging.getLogger(__name__)

CHECK_SECS = 2.0


class HealthCheck:
    """Asks Postgres, NATS and Redis whether they are there."""

    def __init__(
        self, pool: Pool, nats: Nats, redis: redis.asyncio.Redis, queue: Queue, metrics: Metrics
    ) -> None:
        self._pool = pool
        self._nats = nats
        self._redis = redis
        self._queue = queue
        self._run_events = RunEventOutbox(pool)
        self._metrics = metrics

    async def check(self) -> dict[str, str]:
        """`ok`, or what is wrong, for each dependency."""
        postgres, redis_state = await asyncio.gather(
            _state(self._pool.fetchval("select 1")), _state(self._redis.ping())
        )
        return {
            "postgres": postgres,
            "nats": "ok" if self._nats.connected else "not connected",
            "redis": redis_state,
        }

    async def metrics(self) -> bytes:
        """Prometheus text, with the queue as it is now; without it when Postgres is away."""
        try:
            with postgres_errors("measuring the queue"):
                routes = await self._queue.depths()
                self._metrics.run_events_waiting.set(await self._run_events.depth())
            self._metrics.set_backlog(
                {route.route: Backlog(route.depth, route.oldest_secs) for route in routes}
            )
        except Unavailable as error:
            log.warning("%s", error)
        return self._metrics.render()


async def _state(check: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECS):
            with postgres_errors("checking its health"):
                await check
    except TimeoutError:
        return f"no answer in {CHECK_SECS:g} seconds"
    except (Unavailable, RedisError, OSError) as error:
        return str(error)
    return "ok"
