"""Streams and consumers of JetStream: each is made by whoever needs it first, and brought up to date by whoever starts next."""

from __future__ import annotations

from dataclasses import replace

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig, StreamInfo


async def ensure(stream: JetStreamContext, config: StreamConfig) -> StreamInfo:
    """Make a stream, or bring its settings up to date; returns what it has become.

    Raises:
        nats.errors.Error, OSError, TimeoutError: NATS is away, or refuses the change.
    """
    try:
        return await stream.add_stream(config)
    except nats.js.errors.BadRequestError:
        return await stream.update_stream(config)


async def ensure_consumer(stream: JetStreamContext, stream_name: str, config: ConsumerConfig) -> None:
    """Make a durable consumer, or bring its settings up to date; all but `max_waiting`, which NATS never changes.

    Raises:
        nats.errors.Error, OSError, TimeoutError: NATS is away, or refuses the change.
    """
    try:
        await stream.add_consumer(stream_name, config)
    except nats.js.errors.ServerError:
        there = (await stream.consumer_info(stream_name, str(config.durable_name))).config
        if there.max_waiting == config.max_waiting:
            raise
        await stream.add_consumer(stream_name, replace(config, max_waiting=there.max_waiting))
