"""What comes due, as seen from NATS."""

from __future__ import annotations

import asyncio

from nats.js import JetStreamContext

from treadle.messaging.subjects import DELAYS_STREAM, route_consumer


async def asked_for(stream: JetStreamContext, route: str) -> None:
    """Wait until somebody asks for what is due on a route."""
    async with asyncio.timeout(10):
        while not (await stream.consumer_info(DELAYS_STREAM, route_consumer(route))).num_waiting:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.01)
