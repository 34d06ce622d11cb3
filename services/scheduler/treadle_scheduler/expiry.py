"""Removes what has had its time: the threads of stateless runs, once their results were there to be read."""

from __future__ import annotations

from treadle.db.threads import Threads
from treadle.telemetry.metrics import Duty as DutyName

BATCH = 200
INTERVAL_SECS = 5.0


class Expiry:
    """Removes ended stateless threads, in bounded batches."""

    name: DutyName = "expire"
    interval_secs = INTERVAL_SECS

    def __init__(self, threads: Threads, stateless_ttl_secs: float) -> None:
        self._threads = threads
        self._ttl_secs = stateless_ttl_secs

    async def round(self) -> int:
        """Remove batch after batch until none is left."""
        removed = 0
        while gone := await self._threads.gone(self._ttl_secs, BATCH):
            removed += len(await self._threads.delete(gone))
        return removed
