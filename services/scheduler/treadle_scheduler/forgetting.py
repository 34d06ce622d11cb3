"""Removes items of the store whose time to live is over. Readers do not see them any more already."""

from __future__ import annotations

from treadle.db.store import StoreItems
from treadle.graphs.storage import StoreTtl
from treadle.telemetry.metrics import Duty as DutyName

BATCH = 1_000
# Unless langgraph.json has a `store.ttl.sweep_interval_minutes`.
INTERVAL_MINUTES = 5.0


class Forgetting:
    """Removes expired items, in bounded batches."""

    name: DutyName = "forget"

    def __init__(self, items: StoreItems, ttl: StoreTtl | None) -> None:
        self._items = items
        self.interval_secs = 60 * ((ttl and ttl.sweep_interval_minutes) or INTERVAL_MINUTES)

    async def round(self) -> int:
        """Remove batch after batch until less than one is left."""
        removed = 0
        while (gone := await self._items.expire(BATCH)) == BATCH:
            removed += gone
        return removed + gone
