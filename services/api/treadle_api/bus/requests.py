"""Turns durable requests into runs, each name once; what cannot be a run becomes a dead letter.

Whatever dies before a message is acknowledged, it comes again, and then the request's row answers. While Postgres is away,
or as many runs wait as may, messages wait in NATS.
"""

from __future__ import annotations

import asyncio
import logging

import asyncpg
from nats.aio.msg import Msg

from treadle.db.pool import postgres_errors
from treadle.db.runs import Runs
from treadle.errors import Unavailable
from treadle.messaging.connection import NATS_ERRORS, Nats
from treadle.messaging.pulling import pulling
from treadle.messaging.requests import ensure_requests
from treadle.messaging.subjects import REQUESTS_CONSUMER, REQUESTS_STREAM
from treadle.operations.room import QueueRoom
from treadle.patience import patiently
from treadle_api.bus.settling import Settling, answer

log = logging.getLogger(__name__)

# What may be in memory at the same time.
BATCH_BYTES = 64 * 1024 * 1024
AWAY_SECS = 0.5


class DurableRequests:
    """Reads the stream of requests, together with all other API processes.

    Args:
        room: in the queue of runs; while there is none, no request is taken.
        at_once: requests that are made runs at the same time; fewer than there are connections to Postgres.
    """

    def __init__(
        self, nats: Nats, runs: Runs, room: QueueRoom, settling: Settling, *, at_once: int, replicas: int
    ) -> None:
        self._nats = nats
        self._room = room
        self._runs = runs
        self._settling = settling
        self._at_once = at_once
        self._replicas = replicas
        self._waiting: asyncio.Queue[Msg] = asyncio.Queue(maxsize=at_once)
        self._postgres_is_away = False
        # Told besides the cancellation: `asyncio.wait_for`, which the clients use, may swallow one in Python 3.11.
        self._stopping = False

    async def run(self) -> None:
        """Until cancelled; then what was delivered and is not done goes to another process."""
        await self._nats.opened()
        try:
            async with asyncio.TaskGroup() as tasks:
                pulling = tasks.create_task(self._pull_for_ever(), name="requests-pull")
                for number in range(self._at_once):
                    tasks.create_task(self._work(), name=f"request-{number}")
                try:
                    await asyncio.wait({pulling})
                finally:
                    self._stopping = True
        finally:
            while not self._waiting.empty():
                await answer(self._waiting.get_nowait().nak())

    async def _pull_for_ever(self) -> None:
        """NATS may go and come back, with or without what it had."""
        while not self._stopping:
            try:
                await self._ensure()
                await self._pull()
            except NATS_ERRORS as error:
                log.debug("no request could be pulled: %r", error)
                await asyncio.sleep(AWAY_SECS)

    async def _ensure(self) -> None:
        client = self._nats.client
        await self._settling.ensure()
        await ensure_requests(client.jetstream(), self._replicas, client.max_payload)

    async def _pull(self) -> None:
        client = self._nats.client
        # What waits here is nobody else's, and is not to wait until it is delivered again.
        most = max(1, min(self._at_once, BATCH_BYTES // client.max_payload))
        async with pulling(client, REQUESTS_STREAM, REQUESTS_CONSUMER) as pull:
            while not self._stopping:
                await self._until_postgres_is_there()
                await self._room.wait()
                async for message in pull.batch(most):
                    await self._hand_over(message)

    async def _hand_over(self, message: Msg) -> None:
        try:
            await self._waiting.put(message)
        except asyncio.CancelledError:
            await answer(message.nak())
            raise

    async def _until_postgres_is_there(self) -> None:
        if self._postgres_is_away:
            await patiently("Postgres", self._look_for_postgres)
            self._postgres_is_away = False

    async def _look_for_postgres(self) -> None:
        try:
            with postgres_errors("looking whether it is back"):
                await self._runs.clock()
        except asyncpg.PostgresError as error:
            raise Unavailable(f"Postgres answers with {type(error).__name__}: {error}") from error

    async def _work(self) -> None:
        while not self._stopping:
            message = await self._waiting.get()
            try:
                if not await self._settling.settle(message):
                    self._postgres_is_away = True
            except asyncio.CancelledError:
                await answer(message.nak())
                raise
