"""Removes what is over: the one duty behind every line of docs/retention.md that names the scheduler.

A table that grows gets an end with a method that removes at most so many rows in one transaction, by an index, and
a line with it in `app.py`:

    removal("forget_ticks", partial(Ticks(parts.removals).forget, settings.treadle_tick_keep_secs))
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from treadle.telemetry.metrics import Duty as DutyName

log = logging.getLogger(__name__)


class Removal:
    """Removes batch after batch, each a transaction of its own: it can be stopped between them, and holds few locks."""

    def __init__(
        self, name: DutyName, remove: Callable[[int], Awaitable[int]], interval_secs: float, batch: int
    ) -> None:
        """
        Args:
            remove: removes at most as many as it is told; returns how many. Fewer: there are no more.
        """
        self.name: DutyName = name
        self.interval_secs = interval_secs
        self._remove = remove
        self._batch = batch

    async def round(self) -> int:
        """Remove until less than a batch is left.

        What a batch takes with it may be more than can be removed in the time of one statement (a thread owns its
        whole history): then it is halved, so that there always is an advance.
        """
        removed, batch = 0, self._batch
        while True:
            try:
                gone = await self._remove(batch)
            except TimeoutError:
                if batch == 1:
                    raise
                batch //= 2
                log.warning("the duty %s takes too long; it removes %s at a time now", self.name, batch)
                continue
            removed += gone
            if gone < batch:
                return removed
