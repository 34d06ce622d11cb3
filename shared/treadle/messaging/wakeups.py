"""Wake-ups: "look at thread T". They carry ids only, may come twice, late or in any order, and own nothing.

What may run is decided in Postgres (`treadle.claim_next`, migrations/0014_solitary_runs.sql); JetStream decides who is told,
when, and how often. So a publish that fails loses nothing: the sweeper publishes again what has waited too long.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, PubAck, RetentionPolicy, StorageType, StreamConfig

from treadle.messaging import streams
from treadle.messaging.connection import NATS_ERRORS
from treadle.messaging.inbox import Inbox
from treadle.messaging.streams import ensure
from treadle.messaging.subjects import (
    RUNS_STREAM,
    RUNS_SUBJECTS,
    route_consumer,
    route_filter,
    wakeup_subject,
)

log = logging.getLogger(__name__)

PUBLISH_TIMEOUT_SECS = 1.0
DEDUPLICATION_SECS = 120
# AckWait is this much longer than the lease in Postgres, which begins a claim later than the delivery: when a message comes
# again, the lease has ended. No longer, as without a scheduler it is what runs of a dead worker wait for.
ACK_WAIT_MARGIN_SECS = 0.5


class Wakeup(msgspec.Struct, frozen=True):
    """The payload of a wake-up (MessagePack); `v` is the version of this shape."""

    run_id: UUID
    thread_id: UUID
    v: int = 1


class Source(StrEnum):
    """Who published a wake-up. All but `create` repeat one, and so need message ids of their own."""

    CREATE = "create"
    SWEEPER = "sweeper"
    DELAY = "delay"


class Connection(Protocol):
    """What wake-ups are published over."""

    @property
    def client(self) -> Client: ...
    @property
    def connected(self) -> bool: ...


class Waiting(Protocol):
    """What is told of a run in a wake-up."""

    @property
    def run_id(self) -> UUID: ...
    @property
    def thread_id(self) -> UUID: ...
    @property
    def route(self) -> str: ...
    @property
    def attempt(self) -> int: ...


class HeldWakeup(Protocol):
    """A wake-up in the hands of who works on its thread, until it is answered.

    `run_id`: the run that it told of. `deliveries`: how often it was delivered by now. `ack_subject`: where signs of progress
    go, if anywhere.
    """

    @property
    def run_id(self) -> UUID | None: ...
    @property
    def thread_id(self) -> UUID: ...
    @property
    def subject(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def deliveries(self) -> int: ...
    @property
    def redelivered(self) -> bool: ...
    @property
    def ack_subject(self) -> str | None: ...
    async def ack(self) -> None: ...
    async def nak(self, delay_secs: float) -> None: ...


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Wakeup)


async def ensure_stream(stream: JetStreamContext, replicas: int) -> None:
    """Make the stream of wake-ups, or bring its settings up to date."""
    await ensure(
        stream,
        StreamConfig(
            name=RUNS_STREAM,
            subjects=[RUNS_SUBJECTS],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            duplicate_window=DEDUPLICATION_SECS,
            num_replicas=replicas,
        ),
    )


class WakeupPublisher:
    """Publishes wake-ups and waits for JetStream to have stored them."""

    def __init__(self, connection: Connection, replicas: int) -> None:
        self._nats = connection
        self._stream = connection.client.jetstream()
        self._replicas = replicas

    async def publish(
        self, run: Waiting, source: Source, *, nonce: str = "", headers: Mapping[str, str] | None = None
    ) -> bool:
        """Tell the workers of the run's route to look at its thread; False when NATS did not take it."""
        return await self.send(run, source, nonce=nonce, headers=headers) is not None

    async def send(
        self, run: Waiting, source: Source, *, nonce: str = "", headers: Mapping[str, str] | None = None
    ) -> PubAck | None:
        """The same; returns JetStream's answer, which tells a repetition that it dropped.

        Args:
            nonce: tells repetitions of one source apart; JetStream drops a message id that it has seen lately.
            headers: trace context.
        """
        if not self._nats.connected:
            return None
        parts = [str(run.run_id), str(run.attempt)] + ([] if source is Source.CREATE else [source, nonce])
        message = {"Nats-Msg-Id": ":".join(parts), **(headers or {})}
        payload = _encode(Wakeup(run.run_id, run.thread_id))
        subject = wakeup_subject(run.route, run.thread_id)
        try:
            return await self._stream.publish(subject, payload, timeout=PUBLISH_TIMEOUT_SECS, headers=message)
        except nats.js.errors.NoStreamResponseError:
            return await self._publish_again(subject, payload, message)
        except NATS_ERRORS as error:
            log.warning("wake-up of run %s not published (%r); the sweeper will", run.run_id, error)
            return None

    async def _publish_again(self, subject: str, payload: bytes, headers: dict[str, str]) -> PubAck | None:
        """NATS is up but has lost the stream: make it anew."""
        try:
            await ensure_stream(self._stream, self._replicas)
            return await self._stream.publish(subject, payload, timeout=PUBLISH_TIMEOUT_SECS, headers=headers)
        except NATS_ERRORS as error:
            log.warning("the stream %s cannot be made: %r", RUNS_STREAM, error)
            return None


class Delivery:
    """A wake-up in a worker's hands, until it is acknowledged."""

    def __init__(self, message: Msg, wakeup: Wakeup) -> None:
        self._message = message
        self.run_id = wakeup.run_id
        self.thread_id = wakeup.thread_id
        self.subject = message.subject
        self.headers: Mapping[str, str] = message.headers or {}

    @property
    def deliveries(self) -> int:
        """How often it was delivered by now."""
        return self._message.metadata.num_delivered or 1

    @property
    def lie_ready(self) -> int:
        """How many others of its route waited for a worker when it was delivered."""
        return self._message.metadata.num_pending or 0

    @property
    def redelivered(self) -> bool:
        """Whether it was delivered before: then its first receiver may be dead."""
        return self.deliveries > 1

    @property
    def ack_subject(self) -> str:
        """Where its acknowledgements and signs of progress go."""
        return self._message.reply

    async def ack(self) -> None:
        """The thread has nothing left to do. A lost ack only makes the message come again."""
        await self._answer(self._message.ack())

    async def nak(self, delay_secs: float) -> None:
        """Look at the thread again in a while."""
        await self._answer(self._message.nak(delay=max(delay_secs, 0.01)))

    async def _answer(self, answer: Awaitable[object]) -> None:
        try:
            await answer
        except NATS_ERRORS as error:
            log.debug("answer to a wake-up of thread %s lost: %r", self.thread_id, error)


def wakeup_inbox(client: Client, route: str) -> Inbox[Delivery]:
    """The wake-ups of a route: one of these per slot, so that a worker never holds more than it can work on."""
    return Inbox(client, RUNS_STREAM, route_consumer(route), _delivery)


def _delivery(message: Msg) -> Delivery:
    return Delivery(message, _decoder.decode(message.data))


async def ensure_consumer(
    stream: JetStreamContext, route: str, *, lease_secs: float, max_pending: int
) -> None:
    """Make the durable consumer of a route, or bring its settings up to date."""
    await streams.ensure_consumer(
        stream,
        RUNS_STREAM,
        ConsumerConfig(
            name=route_consumer(route),
            durable_name=route_consumer(route),
            filter_subject=route_filter(route),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=lease_secs + ACK_WAIT_MARGIN_SECS,
            max_deliver=-1,
            max_ack_pending=max_pending,
            max_waiting=max_pending,
        ),
    )
