"""Events as frames of SSE."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from tests.integration.streaming.ends import (
    PATIENCE_SECS,
    SUCCESS,
    held,
    write,
)
from treadle.streaming import (
    HEARTBEAT,
    Event,
    EventHub,
    EventId,
    EventPublisher,
    encode,
    frames,
)

pytestmark = pytest.mark.timeout(60)


async def test_frames_carry_the_run_with_heartbeats_in_its_silences(
    publisher: EventPublisher, hub: EventHub, run_id: UUID
) -> None:
    writer = publisher.writer(run_id, 1, held)
    async with hub.watch(run_id) as subscription, asyncio.timeout(PATIENCE_SECS):
        stream = frames(subscription, 0.05)
        assert await anext(stream) == HEARTBEAT
        writer.write("metadata", b'{"run_id":1}')
        assert await anext(stream) == encode(Event(EventId(1, 0), "metadata", b'{"run_id":1}'))
        assert await anext(stream) == HEARTBEAT
        assert await anext(stream) == HEARTBEAT
        write(writer, 2)
        await writer.close(SUCCESS)
        last = b"".join([chunk async for chunk in stream if chunk != HEARTBEAT])
        assert last == b"".join(encode(Event(EventId(1, n), "values", b"{}")) for n in (1, 2))


async def test_frames_may_go_without_ids(publisher: EventPublisher, hub: EventHub, run_id: UUID) -> None:
    writer = publisher.writer(run_id, 1, held)
    async with hub.watch(run_id) as subscription:
        writer.write("metadata", b"{}")
        await writer.close(SUCCESS)
        stream = frames(subscription, PATIENCE_SECS, with_id=False)
        assert [chunk async for chunk in stream] == [b"event: metadata\r\ndata: {}\r\n\r\n"]
