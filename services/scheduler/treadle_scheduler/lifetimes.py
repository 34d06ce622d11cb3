"""Ends the time of threads: what nothing has happened on for as long as it was to live is removed, or pruned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from treadle.checkpoint.pruning import Pruned, Pruning
from treadle.db.scope import EVERYWHERE
from treadle.db.threads import Threads
from treadle.graphs.lifetime import ThreadTtl
from treadle.telemetry.metrics import Duty as DutyName

BATCH = 100


class Batch(NamedTuple):
    """How many threads were removed or pruned, and how many are not due any more: those that cannot be pruned as well."""

    done: int
    settled: int


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

    async def _batches(self, step: Callable[[int], Awaitable[Batch]]) -> int:
        """Go on while there is an advance; threads on which something goes on are looked at again in the next sweep."""
        done = settled = 0
        while most := BATCH if self._most is None else min(BATCH, self._most - settled):
            batch = await step(most)
            if not batch.settled:
                break
            done, settled = done + batch.done, settled + batch.settled
        return done

    async def _remove(self, most: int) -> Batch:
        removed = len(await self._threads.expire(most))
        return Batch(removed, removed)

    async def _prune(self, most: int) -> Batch:
        due = await self._threads.due_for_pruning(most)
        each = [await self._pruning.keep_latest(EVERYWHERE, thread_id) for thread_id in due]
        return Batch(each.count(Pruned.DONE), len(each) - each.count(Pruned.LATER))
