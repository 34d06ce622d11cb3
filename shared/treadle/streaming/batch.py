"""A batch: what was produced within a couple of milliseconds, as one entry of the Stream and one message."""

from __future__ import annotations

import logging
import time

import msgspec

from treadle.streaming.event import Event, EventId

log = logging.getLogger(__name__)

# The control event that tells readers that the run has ended; it never reaches a client.
END = "__end__"
# What an event costs in memory besides its data, roughly.
EVENT_OVERHEAD_BYTES = 256

# (n, event, data)
Numbered = tuple[int, str, bytes]


class WireBatch(msgspec.Struct, frozen=True, array_like=True):
    """The payload, in msgpack: the attempt, and its events in order."""

    attempt: int
    events: list[Numbered]
    base: int = 0
    """The place of the attempt's event 0."""
    made_at: int = 0
    """Milliseconds since 1970, by the clock of whoever made the batch."""


class Batch(msgspec.Struct, frozen=True):
    """A batch that has arrived, decoded once for all who watch the run."""

    events: list[Event]
    size: int
    """What it takes in memory, in bytes."""

    @property
    def first(self) -> EventId:
        return self.events[0].id

    @property
    def last(self) -> EventId:
        return self.events[-1].id

    @property
    def end(self) -> Event | None:
        """The run's end marker, which is always the last event."""
        last = self.events[-1]
        return last if last.event == END else None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(WireBatch)


def encode(attempt: int, events: list[Numbered], base: int = 0) -> bytes:
    return _encoder.encode(WireBatch(attempt, events, base, time.time_ns() // 1_000_000))


def arrived(payload: bytes) -> Batch | None:
    """The batch in a payload; None, and a log line, where a stranger has written something else."""
    try:
        wire = _decoder.decode(payload)
    except msgspec.DecodeError as error:
        log.error("skipped what is no batch of events (is another program using this Redis?): %s", error)
        return None
    attempt, base, made_at = wire.attempt, wire.base, wire.made_at
    events = [Event(EventId(attempt, n), event, data, base + n, made_at) for n, event, data in wire.events]
    return Batch(events, len(payload) + EVENT_OVERHEAD_BYTES * len(events)) if events else None
