"""What is said to Postgres about the store beside reading and writing it, which is langgraph's."""

from __future__ import annotations

from treadle.db.pool import Pool

# Items whose time is over, the longest ended first. One that is being refreshed at this moment is passed over.
EXPIRE = """
with ended as (
    select prefix, key from store where expires_at < clock_timestamp()
     order by expires_at limit $1 for update skip locked
),
gone as (
    delete from store using ended where store.prefix = ended.prefix and store.key = ended.key returning 1
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
