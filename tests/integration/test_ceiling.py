"""TREADLE_MAX_ACK_PENDING: whoever starts next brings the route's consumer up to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from treadle.dev.servers import EmbeddedNats
from treadle.messaging.connection import Nats
from treadle.messaging.subjects import RUNS_STREAM, route_consumer
from treadle.messaging.wakeups import ensure_consumer, ensure_stream


@pytest.mark.parametrize("most", [500, 2000])
async def test_the_ceiling_of_a_route_can_be_changed(tmp_path: Path, most: int) -> None:
    """NATS refuses another `max_waiting` for a consumer that is there; a worker that insisted on it never became ready."""
    async with EmbeddedNats(tmp_path) as server:
        nats = Nats(server.url, name="test")
        await nats.connect()
        try:
            stream = nats.client.jetstream()
            await ensure_stream(stream, 1)
            await ensure_consumer(stream, "default", lease_secs=30, max_pending=1000)
            await ensure_consumer(stream, "default", lease_secs=60, max_pending=most)
            config = (await stream.consumer_info(RUNS_STREAM, route_consumer("default"))).config
        finally:
            await nats.close()
    assert (config.max_ack_pending, config.ack_wait, config.max_waiting) == (most, 60.5, 1000)
