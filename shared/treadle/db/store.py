"""What is said to Postgres about the store beside reading and writing it, which is langgraph's."""

from __future__ import annotations

from treadle.db.pool import Pool

# Items whose time is over, the longest ended first. One that is being refreshed at this moment is passed over. The lock
# keeps each in its place until it is removed there.
EXPIRE = """
with gone as (
    delete from store where ctid = any(array(
        select ctid from store where expires_at < statement_timestamp()
         order by expires_at limit $1 for update skip locked))
    returning 1
)
select count(*) from gone
"""


class StoreItems:
    """The items in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def expire(self, limit: int) -> int:
        """Remove items whose time to live is over, with their vectors; returns how many."""
        return await self._pool.fetchval(EXPIRE, limit)
