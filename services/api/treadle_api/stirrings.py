"""Postgres as the second way to learn that a run has begun on a thread: Redis may be away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from treadle.db.pool import postgres_errors
from treadle.db.runs import Runs
from treadle.errors import Unavailable
from treadle.streaming import EventHub, ThreadNews
from treadle_api.ends import OFTEN_SECS, SELDOM_SECS

log = logging.getLogger(__name__)

# A look covers this many times what lies between two, so that one that comes late overlooks nothing.
OVERLAP = 4


class Stirrings:
    """Asks Postgres, for all threads that are followed in this process at once, on which a run has begun."""

    def __init__(self, runs: Runs, hub: EventHub) -> None:
        self._runs = runs
        self._hub = hub
        self._followed: dict[UUID, set[ThreadNews]] = {}

    @contextmanager
    def telling(self, thread_id: UUID, news: ThreadNews) -> Generator[None]:
        """Tell a follower of a thread for as long as the block lasts."""
        followers = self._followed.setdefault(thread_id, set())
        followers.add(news)
        try:
            yield
        finally:
            followers.discard(news)
            if not followers:
                del self._followed[thread_id]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pause = SELDOM_SECS if self._hub.connected else OFTEN_SECS
            await asyncio.sleep(pause)
            if self._followed:
                await self._look(OVERLAP * pause)

    async def _look(self, within_secs: float) -> None:
        try:
            with postgres_errors("looking for runs that have begun"):
                stirring = await self._runs.stirring(list(self._followed), within_secs)
        except Unavailable as error:
            log.warning("%s", error)
            stirring = list(self._followed)  # each looks for itself once Postgres is back
        for thread_id in stirring:
            for news in self._followed.get(thread_id, ()):
                news.tell()
