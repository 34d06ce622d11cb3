"""What ended long ago and has an end of its own: runs on threads that live on.

Migrations/0012_retention.sql says which runs go, and how they are found; other tables have the end of what they keep with
the rest of their statements.

Whatever looks for what is due compares with `statement_timestamp()`: an index cannot be searched for what is older than
`clock_timestamp()`, which may change from row to row, and all rows that are not due yet would be read.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from treadle.db.pool import Pool

FORGET_RUNS = "select * from treadle.forget_runs($1, $2, $3, $4)"
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class RunRecords:
    """The rows of ended runs. Each is looked at once, in the order of their ends; a new leader begins at the first."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._after: tuple[datetime, int] = (LONG_AGO, 0)

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
                break
            self._after = (page["until"], page["until_seq"])
            gone += page["gone"]
        return gone
