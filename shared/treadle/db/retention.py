"""What ended long ago and has an end of its own: runs on threads that live on.

Migrations/0012_retention.sql says which runs go, and how they are found; other tables have the end of what they keep with
the rest of their statements.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from treadle.db.pool import Pool, clock

FORGET_RUNS = "select * from treadle.forget_runs($1, $2, $3, $4)"
# Before the end of any run.
BEGINNING = (datetime(1970, 1, 1, tzinfo=UTC), 0)
# So seldom that it costs nothing to look at all again, and often enough for times that are counted in days.
AGAIN_SECS = 3600.0


class RunRecords:
    """The rows of ended runs, looked at in the order of their ends.

    Each is looked at once, and again from the first from time to time: one that was passed over, since it had a dead
    letter or was in somebody's hands, may go by then, and no later run of its thread need ever say so.

    Args:
        again_secs: begin again no sooner after the last time than this.
    """

    def __init__(self, pool: Pool, again_secs: float = AGAIN_SECS) -> None:
        self._pool = pool
        self._again = timedelta(seconds=again_secs)
        self._began: datetime | None = None
        self._after: tuple[datetime, int] = BEGINNING

    async def forget(self, keep_secs: float, limit: int) -> int:
        """Remove runs that ended long ago; returns how many: less than `limit` when there are no more.

        The newest run of a thread stays, and so do checkpoints. No transaction looks at more than `limit` runs.
        """
        gone = 0
        while gone < limit:
            page: Any = await self._pool.fetchrow(
                FORGET_RUNS, timedelta(seconds=keep_secs), *self._after, limit
            )
            if not page["looked"]:
                await self._at_the_last()
                break
            self._after = (page["until"], page["until_seq"])
            gone += page["gone"]
        return gone

    async def _at_the_last(self) -> None:
        """Begin again if it is time. Not before all were looked at: those at the end must have their turn."""
        now = await clock(self._pool)
        self._began = self._began or now
        if now - self._began >= self._again:
            self._began, self._after = now, BEGINNING
