"""The names of requests for runs, and their end. They are written with their runs: `Runs.create_once`."""

from __future__ import annotations

from treadle.db.forgetting import forget
from treadle.db.pool import Pool

# The oldest of those that were accepted long ago. What another process removes at this moment is its own.
FORGET = """
delete from treadle.request where ctid = any(array(
    select ctid from treadle.request
     where accepted_at < statement_timestamp() - $1::interval order by accepted_at limit $2 for update skip locked))
"""


class RequestNames:
    """The names in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def forget(self, keep_secs: float, limit: int) -> int:
        """Remove names that were used longer ago than that, their runs or not; returns how many."""
        return await forget(self._pool, FORGET, keep_secs, limit)
