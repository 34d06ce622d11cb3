"""Hearing what happens to runs: events of the stream TREADLE_EVENTS, each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import msgspec
import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from treadle.errors import Unavailable
from treadle.messaging.pulling import pulling
from treadle.messaging.subjects import EVENTS_STREAM
from treadle.wire.run_event import RunEvent, RunEventStatus

# Whoever stops hearing holds no more than the event that it has.
BATCH = 1
# An event whose hearer died comes again after this long.
ACK_WAIT_SECS = 30.0
# A consumer without a name goes when nobody has asked it for this long.
INACTIVE_SECS = 60.0
PAUSE_SECS = 0.5
# More ids than any stream repeats in the time that a publisher tries.
REMEMBERED = 10_000


@asynccontextmanager
async def hear(
    client: Nats, thread_id: UUID | None, status: RunEventStatus | None, durable: str | None
) -> AsyncGenerator[AsyncGenerator[RunEvent]]:
    """Events as they come, over lost connections too. See `Client.events`."""
    subject = f"treadle.events.runs.{thread_id or '*'}.{status or '*'}"
    config = ConsumerConfig(
        name=durable or f"treadle-client-{uuid4()}",
        durable_name=durable,
        filter_subject=subject,
        deliver_policy=DeliverPolicy.ALL if durable else DeliverPolicy.NEW,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_SECS,
        inactive_threshold=None if durable else INACTIVE_SECS,
    )
    try:
        await client.jetstream().add_consumer(EVENTS_STREAM, config)
    except NotFoundError:
        raise Unavailable(
            f"NATS has no stream {EVENTS_STREAM}: the scheduler of Treadle makes it. Is one running?"
        ) from None
    events = _events(client, config)
    try:
        yield events
    finally:
        await events.aclose()


async def _events(client: Nats, config: ConsumerConfig) -> AsyncGenerator[RunEvent]:
    heard: dict[str, None] = {}
    while True:
        try:
            # It is there, unless NATS has lost it.
            consumer = await client.jetstream().add_consumer(EVENTS_STREAM, config)
            async with pulling(client, EVENTS_STREAM, consumer.name) as pull:
                while True:
                    async for message in pull.batch(BATCH):
                        event = msgspec.json.decode(message.data, type=RunEvent)
                        if event.event_id not in heard:
                            yield event
                        _remember(heard, event.event_id)
                        await _ack(message)
        except (nats.errors.Error, OSError, TimeoutError):
            await asyncio.sleep(PAUSE_SECS)


def _remember(heard: dict[str, None], event_id: str) -> None:
    heard[event_id] = None
    if len(heard) > REMEMBERED:
        del heard[next(iter(heard))]


async def _ack(message: Msg) -> None:
    """One that is lost makes the event come again, and then it is known."""
    try:
        await message.ack()
    except (nats.errors.Error, OSError):
        return
