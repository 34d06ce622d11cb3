"""Threads of one moment: made together, each as it was asked for."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from treadle.db.pool import Pool
from treadle.db.scope import EVERYWHERE
from treadle.db.threads import Threads
from treadle.db.together import Maker
from treadle.model import DEFAULT_TENANT, Ttl


async def test_threads_of_one_moment_share_a_transaction_and_keep_what_is_their_own(pool: Pool) -> None:
    threads = Threads(pool)
    ttl = Ttl("delete", 5)
    asked = [(uuid4(), {"number": number, "text": "a\0b"}) for number in range(3)]

    made = await asyncio.gather(
        *(
            threads.create_new(Maker(DEFAULT_TENANT), thread_id, metadata, ttl)
            for thread_id, metadata in asked
        )
    )

    assert await pool.fetchval("select count(distinct xmin::text) from treadle.thread") == 1
    for (thread_id, metadata), thread in zip(asked, made, strict=True):
        assert (thread.thread_id, thread.metadata) == (thread_id, {**metadata, "text": "ab"})
        assert (thread.status, thread.ttl_strategy, thread.ttl_minutes) == ("idle", "delete", 5)
        assert await threads.get(EVERYWHERE, thread_id) == thread
