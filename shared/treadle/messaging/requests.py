"""Durable requests for runs: what services publish to `treadle.requests.<source>`, kept until it is a run or a dead letter.

A request has a name, which makes it one run however often it comes: its `Nats-Msg-Id`, or, without one, its place in
the stream and the moment at which it was stored (NATS may lose its data and count from one again).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

from treadle.errors import InvalidRequest
from treadle.messaging.streams import ensure
from treadle.messaging.subjects import REQUESTS_CONSUMER, REQUESTS_STREAM, REQUESTS_SUBJECTS

MESSAGE_ID = "Nats-Msg-Id"
# JetStream would drop an id that it has seen lately, from whichever source: two sources that both count from one would
# lose requests. What makes one run of a name is the row in Postgres, so this is the least that JetStream allows.
DEDUPLICATION_SECS = 0.1
# A request whose receiver died comes again after this long.
ACK_WAIT_SECS = 10.0
MOST_IN_WORK = 10_000
# What a dead letter adds to its request has to go through NATS as well.
ROOM_FOR_REASON = 64 * 1024

SOURCE = re.compile(r"[A-Za-z0-9_-]{1,64}")
LONGEST_NAME = 512
# A request that is published again from a dead letter: JetStream must not know its id, and Treadle must.
_AGAIN = re.compile(r"^Treadle-Retry:[^;]*;")


class DurableRequest(Struct, frozen=True, kw_only=True):
    """A request as NATS delivered it.

    `message_id` is its name; `place` tells it from all other messages that ever were in the stream; `deliveries` counts
    this one.
    """

    subject: str
    source: str
    message_id: str
    body: bytes
    headers: Mapping[str, str]
    place: str
    stored_at: datetime
    deliveries: int

    def check(self) -> None:
        """Raises InvalidRequest where the source cannot be used."""
        if not SOURCE.fullmatch(self.source):
            raise InvalidRequest(
                f"subject: the source {self.source[:64]!r} must be 1 to 64 letters, digits, `_` and `-`: publish to "
                "treadle.requests.<source>."
            )


def check_name(message_id: str) -> None:
    """A name is part of an index, and is shown. Raises InvalidRequest where one cannot be used."""
    if len(message_id) > LONGEST_NAME or not message_id.isprintable() or "\ufffd" in message_id:
        raise InvalidRequest(
            f"{MESSAGE_ID}: it must be at most {LONGEST_NAME} printable characters, in UTF-8."
        )


def received(message: Msg) -> DurableRequest:
    """A message of the stream of requests, as the request that it is."""
    metadata, headers = message.metadata, message.headers or {}
    place = _place(metadata.sequence.stream, metadata.timestamp)
    return DurableRequest(
        subject=message.subject,
        source=message.subject.rpartition(".")[2],
        message_id=name_of(headers.get(MESSAGE_ID, "")) or place,
        body=message.data,
        headers=headers,
        place=place,
        stored_at=metadata.timestamp,
        deliveries=metadata.num_delivered or 1,
    )


def _place(sequence: int, stored_at: datetime) -> str:
    return f"{sequence}@{stored_at.isoformat()}"


def again(message_id: str, nonce: str) -> str:
    """The `Nats-Msg-Id` under which a request of this name is published once more."""
    return f"Treadle-Retry:{nonce};{message_id}"


def name_of(message_id: str) -> str:
    """The name of the request that has this `Nats-Msg-Id`, be it published for the first time or again."""
    return _AGAIN.sub("", message_id, count=1)


async def ensure_requests(stream: JetStreamContext, replicas: int, max_payload: int) -> None:
    """Make the stream of requests and its consumer, or bring their settings up to date.

    Raises:
        nats.errors.Error, OSError, TimeoutError: NATS is away, or refuses the change.
    """
    await ensure(
        stream,
        StreamConfig(
            name=REQUESTS_STREAM,
            subjects=[REQUESTS_SUBJECTS],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            duplicate_window=DEDUPLICATION_SECS,
            max_msg_size=max_payload - min(ROOM_FOR_REASON, max_payload // 4),
            num_replicas=replicas,
        ),
    )
    await stream.add_consumer(
        REQUESTS_STREAM,
        ConsumerConfig(
            name=REQUESTS_CONSUMER,
            durable_name=REQUESTS_CONSUMER,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_SECS,
            max_deliver=-1,
            max_ack_pending=MOST_IN_WORK,
        ),
    )
