"""Wake-ups for later: NATS (2.12 and newer) keeps them until runs with `after_seconds` come due.

A schedule is a message of the stream TREADLE_DELAYS. When its time has come, NATS puts a copy on the due-subject of the
route, which the route's workers turn into the ordinary wake-up (`treadle_worker.due`). That stream is not the one of the
wake-ups: a stream can never again be without schedules, which an older Treadle would want it to be, and what waits for
months would lie at the bottom of the work queue.

A schedule that is lost, or that no worker forwards, costs nothing: the scheduler's duty finds the run by its row.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import msgspec
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, Header, RetentionPolicy, StorageType, StreamConfig

from treadle.messaging import streams
from treadle.messaging.connection import NATS_ERRORS, Nats
from treadle.messaging.inbox import Inbox
from treadle.messaging.streams import ensure
from treadle.messaging.subjects import (
    DELAYS_STREAM,
    DELAYS_SUBJECTS,
    delay_subject,
    due_subject,
    route_consumer,
)
from treadle.messaging.wakeups import Waiting

log = logging.getLogger(__name__)

PUBLISH_TIMEOUT_SECS = 1.0
FIRST_VERSION = (2, 12)
# A worker that dies, or whose loop is blocked, is late by this much at the most; the scheduler is quicker.
ACK_WAIT_SECS = 2.0


class Delayed(Waiting, Protocol):
    """A run that waits for its moment, by the database's clock."""

    @property
    def not_before(self) -> datetime | None: ...


class DueRun(msgspec.Struct, frozen=True):
    """The payload of a schedule (MessagePack): a run, and when it is due. `v` is the version of this shape."""

    run_id: UUID
    thread_id: UUID
    route: str
    attempt: int
    not_before: datetime
    v: int = 1


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(DueRun)


def keeps_schedules(connection: Nats) -> bool:
    """Whether the server that we are connected to is new enough to keep schedules."""
    if not connection.connected:
        return False
    version = connection.client.connected_server_version
    try:
        return (version.major, version.minor) >= FIRST_VERSION
    except ValueError:
        return False


async def ensure_delays(stream: JetStreamContext, replicas: int) -> bool:
    """Make the stream of schedules, or bring it up to date; returns whether schedules are kept.

    A cluster may lag behind the one server of it that we see. An older server leaves out what it does not know, and says
    nothing: messages would stay in such a stream for ever.
    """
    info = await ensure(
        stream,
        StreamConfig(
            name=DELAYS_STREAM,
            subjects=DELAYS_SUBJECTS,
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            num_replicas=replicas,
            allow_msg_schedules=True,
        ),
    )
    if not info.config.allow_msg_schedules:
        await stream.delete_stream(DELAYS_STREAM)
    return bool(info.config.allow_msg_schedules)


class Schedules:
    """Tells NATS of runs that come due later.

    Args:
        wanted: False leaves them all to the scheduler.
    """

    def __init__(self, connection: Nats, replicas: int, *, wanted: bool) -> None:
        self._nats = connection
        self._stream = connection.client.jetstream(timeout=PUBLISH_TIMEOUT_SECS)
        self._replicas = replicas
        self._wanted = wanted

    async def add(self, run: Delayed, *, headers: Mapping[str, str] | None = None) -> bool:
        """Have the workers woken when a run is due; False when that is left to the scheduler.

        Args:
            headers: trace context.
        """
        if not (self._wanted and run.not_before is not None and keeps_schedules(self._nats)):
            return False
        due = DueRun(run.run_id, run.thread_id, run.route, run.attempt, run.not_before)
        try:
            return await self._publish(due, headers or {})
        except NATS_ERRORS as error:
            log.warning("run %s not scheduled by NATS (%r); the scheduler will wake it", run.run_id, error)
            return False

    async def _publish(self, due: DueRun, headers: Mapping[str, str]) -> bool:
        """Publish a schedule, and make the stream for it if there is none."""
        schedule = {
            **headers,
            Header.SCHEDULE.value: f"@at {due.not_before.astimezone(UTC).isoformat()}",
            Header.SCHEDULE_TARGET.value: due_subject(due.route),
        }
        subject, payload = delay_subject(due.route, due.run_id), _encode(due)
        try:
            await self._stream.publish(subject, payload, headers=schedule)
        except nats.js.errors.NoStreamResponseError:
            if not await ensure_delays(self._stream, self._replicas):
                return False
            await self._stream.publish(subject, payload, headers=schedule)
        return True


class DueDelivery:
    """A run that NATS says is due, in a worker's hands."""

    def __init__(self, message: Msg, run: DueRun) -> None:
        self._message = message
        self.run = run
        self.trace: Mapping[str, str] = {
            name: value for name, value in (message.headers or {}).items() if not name.startswith("Nats-")
        }

    async def ack(self) -> None:
        """The workers are told. A lost ack only makes it come again."""
        await self._message.ack()

    async def come_again(self, delay_secs: float) -> None:
        """Deliver it again after a while."""
        await self._message.nak(delay=max(delay_secs, 0.01))


def due_inbox(client: Client, route: str) -> Inbox[DueDelivery]:
    """What has come due on a route."""
    return Inbox(client, DELAYS_STREAM, route_consumer(route), _delivery)


def _delivery(message: Msg) -> DueDelivery:
    return DueDelivery(message, _decoder.decode(message.data))


async def ensure_due_consumer(stream: JetStreamContext, route: str, *, max_pending: int) -> None:
    """Make the durable consumer of what comes due on a route, or bring its settings up to date."""
    await streams.ensure_consumer(
        stream,
        DELAYS_STREAM,
        ConsumerConfig(
            name=route_consumer(route),
            durable_name=route_consumer(route),
            filter_subject=due_subject(route),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_SECS,
            max_deliver=-1,
            max_ack_pending=max_pending,
            max_waiting=max_pending,
        ),
    )
