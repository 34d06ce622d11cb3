"""Forwarding what NATS says is due, by a worker that stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from tests.due import asked_for
from treadle.db.pool import Pool
from treadle.dev.servers import EmbeddedNats
from treadle.messaging.connection import Nats
from treadle.messaging.delays import DueRun, due_inbox, ensure_delays, ensure_due_consumer
from treadle.messaging.subjects import DELAYS_STREAM, due_subject, route_consumer
from treadle.messaging.wakeups import WakeupPublisher
from treadle.operations.wakeups import Wakeups
from treadle.telemetry.metrics import Metrics
from treadle_worker.due import DueRuns

ROUTE = "default"


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncGenerator[Nats]:
    async with EmbeddedNats(tmp_path) as server:
        connection = Nats(server.url, name="test")
        await connection.connect()
        yield connection
        await connection.close()


async def test_what_comes_due_while_a_worker_stops_goes_to_another_at_once(
    connection: Nats, pool: Pool
) -> None:
    stream, kept = connection.client.jetstream(), asyncio.Event()
    kept.set()
    await ensure_delays(stream, 1)
    await ensure_due_consumer(stream, ROUTE, max_pending=10)
    publisher = WakeupPublisher(connection, 1)
    stopping = asyncio.create_task(
        DueRuns(due_inbox(connection.client, ROUTE), pool, Wakeups(publisher, None), Metrics(), kept).run(),
        name="due",
    )
    await asked_for(stream, ROUTE)
    stopping.cancel()
    await asyncio.wait({stopping})

    due = DueRun(uuid4(), uuid4(), ROUTE, 0, datetime.now(UTC))
    await stream.publish(due_subject(ROUTE), msgspec.msgpack.encode(due))
    other = due_inbox(connection.client, ROUTE)

    delivery = await other.pull(5)
    info = await stream.consumer_info(DELAYS_STREAM, route_consumer(ROUTE))
    assert delivery is not None
    assert delivery.run == due
    assert info.num_redelivered == 0
    await delivery.ack()
    await other.close()
