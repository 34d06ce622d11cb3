"""Streams of JetStream: each is made by whoever needs it first, and brought up to date by whoever starts next."""

from __future__ import annotations

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import StreamConfig


async def ensure(stream: JetStreamContext, config: StreamConfig) -> None:
    """Make a stream, or bring its settings up to date.

    Raises:
        nats.errors.Error, OSError, TimeoutError: NATS is away, or refuses the change.
    """
    try:
        await stream.add_stream(config)
    except nats.js.errors.BadRequestError:
        await stream.update_stream(config)
