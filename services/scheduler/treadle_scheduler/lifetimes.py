"""Ends the time of threads: what nothing has happened on for as long as it was to live is removed, or pruned."""

from __future__ import annotations

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
        self._most = ttl.most_at_once
        self.interval_secs = ttl.sweep_interval_secs

    async def round(self) -> int:
        """Remove and prune what has expired, up to the limit of one sweep each; returns how many threads."""
        return await self._remove() + await self._prune()

    async def _remove(self) -> int:
        removed = 0
        while removed < self._most:
            batch = min(BATCH, self._most - removed)
            gone = len(await self._threads.expire(batch))
            removed += gone
            if gone < batch:
                break
        return removed

    async def _prune(self) -> int:
        due = await self._threads.due_for_pruning(self._most)
        return sum([await self._pruning.keep_latest(thread_id) for thread_id in due])
