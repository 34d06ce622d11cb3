"""Postgres as the second way to learn that a run has ended: Redis may be away, or have lost the end marker."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from treadle.db.pool import postgres_errors
from treadle.db.runs import Runs
from treadle.errors import Unavailable
from treadle.streaming import EventHub

log = logging.getLogger(__name__)

# With Redis up this is only for end markers that a dying worker did not publish.
SELDOM_SECS = 3.0
OFTEN_SECS = 0.3


class Ends:
    """Asks Postgres, for all runs that are watched in this process at once, which of them are over."""

    def __init__(self, runs: Runs, hub: EventHub) -> None:
        self._runs = runs
        self._hub = hub
        self._watched: Counter[UUID] = Counter()
        self._seen_ended: set[UUID] = set()

    @contextmanager
    def watching(self, run_id: UUID) -> Generator[None]:
        """Include a run, which must have been created, for as long as the block lasts."""
        self._watched[run_id] += 1
        try:
            yield
        finally:
            self._watched[run_id] -= 1
            if not self._watched[run_id]:
                del self._watched[run_id]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(SELDOM_SECS if self._hub.connected else OFTEN_SECS)
            if self._watched:
                await self._look()

    async def _look(self) -> None:
        """End the runs that were over at the last look too.

        A worker publishes a run's last events and its end a moment after it has committed the outcome: a look
        in between must not cut them off.
        """
        try:
            with postgres_errors("looking for runs that have ended"):
                ended = await self._runs.ended(list(self._watched))
        except Unavailable as error:
            log.warning("%s", error)
            return
        for run in ended:
            if run.run_id in self._seen_ended:
                self._hub.end(run.run_id, {"status": run.status, "known_by": "postgres"}, run.secs_ago)
        self._seen_ended = {run.run_id for run in ended}
