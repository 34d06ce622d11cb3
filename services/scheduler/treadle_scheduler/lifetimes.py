"""Ends the time of threads: what nothing has happened on for as long as it was to live is removed, or pruned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from treadle.checkpoint.pruning import Pruning
from treadle.db.threads import Threads
from treadle.graphs.lifetime import ThreadTtl
from treadle.telemetry.metrics import Duty as DutyName

BATCH = 100


class Lifetimes:
    """Removes and prunes threads that have expired and are at rest, in bounded batches."""

    name: DutyName = "ttl"

    def __init__(self, threads: Threads, pruning: Pruning, ttl: ThreadTtl) -> None:
        self._threads = threads
        self._pruning = pruning
        self._most = ttl.sweep_limit
        self.interval_secs = ttl.sweep_interval_secs

    async def round(self) -> int:
        """Remove and prune what has expired, up to the limit of one sweep each; returns how many threads."""
        return await self._batches(self._remove) + await self._batches(self._prune)

    async def _batches(self, step: Callable[[int], Awaitable[int]]) -> int:
        """Go on while there is an advance; what cannot be pruned now is looked at again in the next sweep."""
        done = 0
        while batch := BATCH if self._most is None else min(BATCH, self._most - done):
            if not (advance := await step(batch)):
                break
            done += advance
        return done

    async def _remove(self, batch: int) -> int:
        return len(await self._threads.expire(batch))

    async def _prune(self, batch: int) -> int:
        due = await self._threads.due_for_pruning(batch)
        return sum([await self._pruning.keep_latest(thread_id) for thread_id in due])
