"""What one follower of a thread hears: that a run has begun on it. Which one, Postgres says."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from treadle.errors import Unavailable
from treadle.streaming import batch as batches
from treadle.streaming.batch import Batch
from treadle.streaming.connection import AWAY, answered
from treadle.streaming.event import thread_channel

STATE_UPDATE = "state_update"
# What a follower keeps of changed states while it is busy with a run, during which there are none.
STATES = 16


async def announce_state(redis: Redis, thread_id: UUID, tenant: str, data: bytes) -> None:
    """Tell a thread's followers that somebody has changed its state; `data` is JSON.

    Raises:
        Unavailable: Redis cannot be reached; the thread's history has the new state in any case.
    """
    try:
        async with answered():
            payload = batches.encode(0, [(0, STATE_UPDATE, data)])
            await redis.publish(thread_channel(thread_id, tenant), payload)
    except AWAY as error:
        raise Unavailable(
            f"The new state of thread {thread_id} could not be announced over Redis: {error}"
        ) from error


class ThreadNews:
    """Made by `EventHub.hear`; for one follower.

    News only says: look again. So nothing is lost when it is heard twice or late, and where some may have been
    missed (a reconnect to Redis) there is news as well.
    """

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self._changed = asyncio.Event()
        self._states: deque[bytes] = deque(maxlen=STATES)

    async def wait(self) -> None:
        """Until there is news that came after the last `wait`; look after this returns. May be cancelled."""
        await self._changed.wait()
        self._changed.clear()

    def tell(self) -> None:
        """There may be a new run."""
        self._changed.set()

    # The hub's side.

    def offer(self, batch: Batch) -> None:
        """An attempt has begun, and `batch` has its first events; or somebody has changed the state."""
        self._states += [event.data for event in batch.events if event.event == STATE_UPDATE]
        self.tell()

    def states(self) -> list[bytes]:
        """What has been told of changed states since the last look, as JSON. Live only: nobody keeps it."""
        told = list(self._states)
        self._states.clear()
        return told

    def subscribed(self) -> None:
        """From here on everything is heard; something may have been missed before."""
        self.tell()

    def unreachable(self) -> None:
        """Redis is away: Postgres is asked from time to time."""

    def close(self, end: dict[str, Any], rest_secs: float) -> None:
        """A thread does not end."""
