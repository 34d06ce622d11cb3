"""Cancelling the runs of clients that have left."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from tests.integration.accepting import accepted
from treadle.db.pool import Pool, PoolWait, close_pool, connect_pool
from treadle.db.runs import Runs
from treadle.db.scope import EVERYWHERE
from treadle.operations.cancel import Cancellation
from treadle.streaming import StreamLimits, connect
from treadle_api.operations.leaving import cancel_for_client


async def test_a_client_that_leaves_while_all_connections_are_in_use_has_its_run_cancelled(
    dsn: str, pool: Pool
) -> None:
    """Those who leave because nothing moves are the rule: it is just then that no connection is free."""
    thread, refused = uuid4(), asyncio.Event()
    run = await accepted(pool, thread)
    busy = await connect_pool(dsn, size=1, service="busy", wait=PoolWait(0.1, refused.set))
    redis = connect("redis://127.0.0.1:1")
    async with busy.acquire():
        cancellation = Cancellation(Runs(busy), redis, StreamLimits())
        leaving = asyncio.create_task(
            cancel_for_client(cancellation, EVERYWHERE, thread, run), name="leaving"
        )
        await asyncio.wait_for(refused.wait(), 10)
    await asyncio.wait_for(leaving, 10)
    found = await Runs(pool).get(EVERYWHERE, thread, run)
    assert found is not None
    assert found.status == "interrupted"
    await close_pool(busy)
    await redis.aclose()
