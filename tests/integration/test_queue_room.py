"""Whether one more run may wait, as the API learns it from Postgres."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from treadle.db.new_run import NewRun as NewRow
from treadle.db.pool import Pool, PoolWait, close_pool, connect_pool
from treadle.db.queue import Queue
from treadle.db.runs import Runs
from treadle.db.scope import Scope
from treadle.db.threads import Threads
from treadle.db.together import Maker
from treadle.db.turns import TurnRows
from treadle.errors import QueueFull
from treadle.model import DEFAULT_TENANT
from treadle.operations.room import LONGEST_PAUSE_SECS, LOOK_SECS, QueueRoom, pause_after
from treadle.telemetry.metrics import Metrics
from treadle.wire.runs import NewRun

POOL_WAIT_SECS = 1.0


async def test_a_look_that_found_no_connection_is_soon_made_again(dsn: str, pool: Pool) -> None:
    """Otherwise everybody would be turned away, or let in, for minutes by what is long no longer true."""
    thread, refused = uuid4(), asyncio.Event()
    await Threads(pool).create(Maker(DEFAULT_TENANT), thread, {}, None)
    await Runs(pool).create(
        NewRow(run_id=uuid4(), thread_id=thread, assistant_id=uuid4(), graph_id="g", kwargs={})
    )
    busy = await connect_pool(dsn, size=1, service="busy", wait=PoolWait(POOL_WAIT_SECS, refused.set))
    room = QueueRoom(Queue(busy), 1, Metrics())
    async with busy.acquire():
        looking = asyncio.create_task(room.run(), name="looking")
        await asyncio.wait_for(refused.wait(), 10)
    try:
        async with asyncio.timeout(POOL_WAIT_SECS * 10):
            await until_full(room)
    finally:
        looking.cancel()
        await asyncio.wait({looking})
        await close_pool(busy)


async def until_full(room: QueueRoom, tenant: str = DEFAULT_TENANT) -> None:
    body = NewRun(assistant_id="a")
    while True:
        try:
            room.check(tenant, body)
        except QueueFull:
            return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("look_secs", "pause_secs"), [(0, LOOK_SECS), (0.001, LOOK_SECS), (0.2, 4), (30, LONGEST_PAUSE_SECS)]
)
def test_looks_at_a_long_queue_are_rarer_but_not_for_long(look_secs: float, pause_secs: float) -> None:
    assert pause_after(look_secs) == pause_secs


async def test_a_queue_that_one_tenant_has_filled_has_room_for_another(pool: Pool) -> None:
    rows = TurnRows(pool)
    for tenant, count in (("many", 3), ("few", 1)):
        for _ in range(count):
            new = NewRow(
                run_id=uuid4(),
                thread_id=uuid4(),
                assistant_id=uuid4(),
                graph_id="g",
                kwargs={},
                if_not_exists="create",
                scope=Scope(tenant),
            )
            await Runs(pool).create(new)
            await rows.put([new.run_id])
    room, body = QueueRoom(Queue(pool), 4, Metrics(), turns=rows), NewRun(assistant_id="a")
    looking = asyncio.create_task(room.run(), name="looking")
    try:
        async with asyncio.timeout(10):
            await until_full(room, "many")
        room.check("few", body)  # half of it is theirs
        with pytest.raises(QueueFull):
            room.check("few", body)
        room.check("new", body)  # a third of it, now
        with pytest.raises(QueueFull):
            room.check("new", body)
    finally:
        looking.cancel()
        await asyncio.wait({looking})
