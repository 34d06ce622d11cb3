"""What ended long ago and has an end of its own: runs on threads that live on, and dead letters.

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
FORGET_DEAD_LETTERS = """
delete from treadle.dead_letter where id = any(array(
    select id from treadle.dead_letter where created_at < statement_timestamp() - $1::interval
     order by created_at limit $2 for update skip locked))
"""
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


class DeadLetters:
    """The records of runs that were given up."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def forget(self, keep_secs: float, limit: int) -> int:
        """Remove those that were written long ago; returns how many."""
        done = await self._pool.execute(FORGET_DEAD_LETTERS, timedelta(seconds=keep_secs), limit)
        return int(done.rpartition(" ")[2])
