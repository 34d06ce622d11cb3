"""The results of runs, for those who wait for them."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from tests.integration.accepting import accepted
from treadle.db.pool import Pool, PoolWait, close_pool, connect_pool
from treadle.db.runs import Runs
from treadle.db.scope import EVERYWHERE
from treadle.db.threads import Threads
from treadle.model import CancelAction
from treadle.streaming import EventHub, connect
from treadle_api.ends import Ends
from treadle_api.operations.results import Results


async def test_whoever_waits_for_a_result_goes_on_waiting_while_all_connections_are_in_use(
    dsn: str, pool: Pool
) -> None:
    """Told to ask again, a model would call its tool again, and there would be a second run."""
    thread, refused = uuid4(), asyncio.Event()
    run = await accepted(pool, thread)
    await Runs(pool).cancel(EVERYWHERE, thread, run, CancelAction.INTERRUPT)
    busy, redis = (
        await connect_pool(dsn, size=1, service="busy", wait=PoolWait(0.1, refused.set)),
        connect("redis://127.0.0.1:1"),
    )
    hub = EventHub(redis)
    results = Results(Runs(busy), Threads(busy), hub, Ends(Runs(busy), hub))
    async with busy.acquire():
        waiting = asyncio.create_task(results.join(thread, run), name="result")
        await asyncio.wait_for(refused.wait(), 10)
    assert await asyncio.wait_for(waiting, 10) == b"{}"
    await close_pool(busy)
    await redis.aclose()
