"""The cancel signal: every worker hears it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, cast
from uuid import UUID

import pytest
from redis.asyncio import Redis

from tests.integration.streaming.ends import (
    PATIENCE_SECS,
    connected,
    kill,
)
from treadle.dev.servers import EmbeddedValkey
from treadle.errors import Unavailable
from treadle.model import CancelAction
from treadle.streaming import (
    CancelBus,
)

pytestmark = pytest.mark.timeout(60)


async def listened(redis: Redis, listeners: int) -> None:
    """Wait until so many listen for cancels."""
    async with asyncio.timeout(PATIENCE_SECS):
        while (await cast(Any, redis.pubsub_numsub("treadle:cancel")))[0][1] < listeners:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_every_worker_hears_a_cancel(valkey: EmbeddedValkey, redis: Redis, run_id: UUID) -> None:
    bus = CancelBus(redis)

    async def worker() -> tuple[UUID, CancelAction]:
        async with connected(valkey) as client, aclosing(CancelBus(client).listen()) as signals:
            signal = await anext(signals)
            return signal.run_id, signal.action

    async with asyncio.timeout(PATIENCE_SECS), asyncio.TaskGroup() as tasks:
        workers = [tasks.create_task(worker()) for _ in range(2)]
        await listened(redis, len(workers))
        await cast(Any, redis.publish("treadle:cancel", b"noise"))
        await bus.publish(run_id, CancelAction.ROLLBACK)
    assert [task.result() for task in workers] == [(run_id, CancelAction.ROLLBACK)] * 2


async def test_cancels_are_heard_again_when_redis_is_back(own_valkey: EmbeddedValkey, run_id: UUID) -> None:
    async with (
        connected(own_valkey) as client,
        connected(own_valkey) as workers,
        aclosing(CancelBus(workers).listen()) as signals,
        asyncio.timeout(PATIENCE_SECS),
    ):
        bus = CancelBus(client)
        heard = asyncio.ensure_future(anext(signals))
        await listened(client, 1)
        await kill(own_valkey)
        with pytest.raises(Unavailable, match="recorded"):
            await bus.publish(run_id, CancelAction.INTERRUPT)
        await own_valkey.start()
        await listened(client, 1)
        await bus.publish(run_id, CancelAction.INTERRUPT)
        assert (await heard).run_id == run_id
