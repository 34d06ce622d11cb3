"""Removing what has been kept for long enough, a batch at a time.

A statement takes the age and the size of the batch, finds the oldest by index, and passes over what somebody else has in
hand. It compares with `statement_timestamp()`: an index cannot be searched for what is older than `clock_timestamp()`,
which may change from row to row, and all rows that are not due yet would be read.
"""

from __future__ import annotations

from datetime import timedelta

from treadle.db.pool import Pool


async def forget(pool: Pool, statement: str, keep_secs: float, limit: int) -> int:
    """Remove up to `limit` rows older than `keep_secs`; returns how many."""
    done = await pool.execute(statement, timedelta(seconds=keep_secs), limit)
    return int(done.rpartition(" ")[2])
