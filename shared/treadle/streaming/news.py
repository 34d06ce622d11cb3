"""What one follower of a thread hears: that a run has begun on it. Which one, Postgres says."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from treadle.streaming.batch import Batch
from treadle.streaming.event import thread_channel


class ThreadNews:
    """Made by `EventHub.hear`; for one follower.

    News only says: look again. So nothing is lost when it is heard twice or late, and where some may have been
    missed (a reconnect to Redis) there is news as well.
    """

    def __init__(self, thread_id: UUID | str) -> None:
        self.channel = thread_channel(thread_id)
        self._changed = asyncio.Event()

    async def wait(self) -> None:
        """Until there is news that came after the last `wait`; look after this returns. May be cancelled."""
        await self._changed.wait()
        self._changed.clear()

    def tell(self) -> None:
        """There may be a new run."""
        self._changed.set()

    # The hub's side.

    def offer(self, batch: Batch) -> None:
        """An attempt has begun; `batch` has its first events."""
        self.tell()

    def subscribed(self) -> None:
        """From here on everything is heard; something may have been missed before."""
        self.tell()

    def unreachable(self) -> None:
        """Redis is away: Postgres is asked from time to time."""

    def close(self, end: dict[str, Any]) -> None:
        """A thread does not end."""
