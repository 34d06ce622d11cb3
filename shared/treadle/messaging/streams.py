"""Streams of JetStream: each is made by whoever needs it first, and brought up to date by whoever starts next."""

from __future__ import annotations

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import StreamConfig, StreamInfo


async def ensure(stream: JetStreamContext, config: StreamConfig) -> StreamInfo:
    """Make a stream, or bring its settings up to date; returns what it has become.

    Raises:
        nats.errors.Error, OSError, TimeoutError: NATS is away, or refuses the change.
    """
    try:
        return await stream.add_stream(config)
    except nats.js.errors.BadRequestError:
        return await stream.update_stream(config)
