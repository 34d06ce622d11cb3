"""Hearing what happens to runs: events of the stream TREADLE_EVENTS, each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import msgspec
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from treadle.errors import Unavailable
from treadle.messaging.connection import NATS_ERRORS
from treadle.messaging.pulling import pulling
from treadle.messaging.subjects import EVENTS_STREAM, run_event_subject
from treadle.wire.run_event import RunEvent, RunEventStatus

# Whoever stops hearing holds no more than the event that it has.
BATCH = 1
# An event whose hearer died comes again after this long; one that is still at work on it says so this often.
ACK_WAIT_SECS = 30.0
AT_WORK_SECS = 10.0
# How long a hearer that leaves waits for NATS to note which event it gives back.
GIVE_BACK_SECS = 1.0
# A consumer without a name goes when nobody has asked it for this long.
INACTIVE_SECS = 60.0
PAUSE_SECS = 0.5
# More ids than any stream repeats in the time that a publisher tries.
REMEMBERED = 10_000


@asynccontextmanager
async def hear(
    client: Nats, tenant: str, thread_id: UUID | None, status: RunEventStatus | None, durable: str | None
) -> AsyncGenerator[AsyncGenerator[RunEvent]]:
    """Events as they come, over lost connections too. See `Client.events`."""
    place = _Place(client, run_event_subject(tenant, thread_id or "*", status or "*"), durable)
    try:
        await place.begin()
    except NotFoundError:
        raise Unavailable(
            f"NATS has no stream {EVENTS_STREAM}: the scheduler of Treadle makes it. Is one running?"
        ) from None
    events = _events(client, place)
    try:
        yield events
    finally:
        await events.aclose()


class _Place:
    """Up to where a hearer has heard: NATS remembers it under a name, else it is remembered here."""

    def __init__(self, client: Nats, subject: str, durable: str | None) -> None:
        self._stream = client.jetstream()
        self._durable = durable
        self._common = ConsumerConfig(
            filter_subject=subject, ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_SECS
        )
        self._heard = 0

    async def begin(self) -> None:
        """Hear all from now on, or from where the name has got to. Raises NotFoundError: there is no stream."""
        if self._durable:
            await self.consumer()
        else:
            self._heard = await self._last()

    async def consumer(self) -> str:
        """The name of a consumer that goes on from here. It may be there already, or NATS may have lost it."""
        made = await self._stream.add_consumer(EVENTS_STREAM, await self._config())
        return made.name

    async def _config(self) -> ConsumerConfig:
        if self._durable:
            return self._common.evolve(
                name=self._durable, durable_name=self._durable, deliver_policy=DeliverPolicy.ALL
            )
        # A stream that ends before what was heard is another one.
        after = self._heard if self._heard <= await self._last() else 0
        return self._common.evolve(
            name=f"treadle-client-{uuid4()}",
            inactive_threshold=INACTIVE_SECS,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
        )

    async def _last(self) -> int:
        return (await self._stream.stream_info(EVENTS_STREAM)).state.last_seq

    def heard(self, message: Msg) -> None:
        self._heard = message.metadata.sequence.stream


async def _events(client: Nats, place: _Place) -> AsyncGenerator[RunEvent]:
    heard: dict[str, None] = {}
    while True:
        try:
            async with pulling(client, EVENTS_STREAM, await place.consumer()) as pull:
                while True:
                    async for message in pull.batch(BATCH):
                        event = msgspec.json.decode(message.data, type=RunEvent)
                        if event.event_id not in heard:
                            async with _in_hand(client, message):
                                yield event
                        _remember(heard, event.event_id)
                        place.heard(message)
                        await _ack(message)
        except NATS_ERRORS as error:
            if client.is_closed:
                raise Unavailable("The connection to NATS is closed.") from error
            await asyncio.sleep(PAUSE_SECS)


@asynccontextmanager
async def _in_hand(client: Nats, message: Msg) -> AsyncGenerator[None]:
    """The event is this hearer's until the block ends; if the hearer leaves within it, it is somebody else's at once."""
    try:
        async with _at_work(message):
            yield
    except BaseException:
        await _give_back(client, message)
        raise


@asynccontextmanager
async def _at_work(message: Msg) -> AsyncGenerator[None]:
    """Say that the event is in good hands, for as long as the block lasts."""

    async def say() -> None:
        while True:
            await asyncio.sleep(AT_WORK_SECS)
            try:
                await message.in_progress()
            except NATS_ERRORS:
                continue

    saying = asyncio.create_task(say(), name="event-at-work")
    try:
        yield
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)


def _remember(heard: dict[str, None], event_id: str) -> None:
    heard[event_id] = None
    if len(heard) > REMEMBERED:
        del heard[next(iter(heard))]


async def _ack(message: Msg) -> None:
    """One that is lost makes the event come again, and then it is known."""
    try:
        await message.ack()
    except NATS_ERRORS:
        return


async def _give_back(client: Nats, message: Msg) -> None:
    """Returns once NATS has noted it, so that whoever asks next gets it. One that is lost comes after ACK_WAIT_SECS."""
    try:
        await client.request(message.reply, Msg.Ack.Nak, timeout=GIVE_BACK_SECS)
    except NATS_ERRORS:
        return
