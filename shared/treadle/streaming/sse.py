"""Events as server-sent events (WHATWG HTML, section 9.2), and the header with which a client comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Protocol

from treadle.errors import InvalidRequest
from treadle.streaming.event import Event, EventId

HEARTBEAT = b": heartbeat\r\n\r\n"
# What is joined, and handed to a connection, at a time. A client that does not read holds its connection's buffer and one of these.
PIECE_BYTES = 16 * 1024
# The protocol's clients say it in each of these ways.
FROM_THE_START = frozenset(["", "-1", "0"])

# The event's name, its encoded data, and the id to come back with.
Frame = tuple[str, bytes, EventId | int | None]


class EventSource(Protocol):
    """A `Subscription`, or what picks events from one."""

    async def next_batch(self) -> list[Event] | None:
        """The next events, at least one; None at the run's end. Cancelling it loses nothing."""
        ...


def parse_last_event_id(value: str | None) -> EventId | None:
    """Read the Last-Event-ID header: the last event that the client has seen; None: all events, from the first.

    Raises:
        InvalidRequest: it is neither `-1`, `0` nor an id that Treadle has given out.
    """
    if value is None or value in FROM_THE_START:
        return None
    try:
        return EventId.parse(value)
    except InvalidRequest as error:
        raise InvalidRequest(f"Last-Event-ID: {error} Or send `-1` for all events that are kept.") from error


def encode(event: Event, *, with_id: bool = True) -> bytes:
    """One frame. The data is JSON without raw line breaks, so it fits on one line."""
    return frame(event.event, event.data, event.id if with_id else None)


def frame(event: str, data: bytes, event_id: EventId | int | None = None) -> bytes:
    """One frame of a name, encoded JSON, and the id to come back with."""
    return b"".join((_head(event), data, _tail(event_id)))


def pieces(frames: Iterable[Frame]) -> Iterator[bytes]:
    """Frames, given as `frame` takes them, in pieces of PIECE_BYTES or little more.

    The data of a large event are a piece of their own, and not a copy: all who watch a run share them, and a client that does
    not read keeps no more than that.
    """
    joined: list[bytes] = []
    size = 0
    for event, data, event_id in frames:
        parts = (_head(event), data, _tail(event_id))
        if len(data) >= PIECE_BYTES:
            yield b"".join((*joined, parts[0]))
            yield data
            joined, size = [parts[2]], len(parts[2])
            continue
        joined += parts
        size += len(data) + len(parts[0]) + len(parts[2])
        if size >= PIECE_BYTES:
            piece, joined, size = b"".join(joined), [], 0
            yield piece
    if joined:
        yield b"".join(joined)


def _head(event: str) -> bytes:
    return b"event: %b\r\ndata: " % event.encode()


def _tail(event_id: EventId | int | None) -> bytes:
    return b"\r\n\r\n" if event_id is None else b"\r\nid: %b\r\n\r\n" % str(event_id).encode()


async def frames(
    source: EventSource, heartbeat_secs: float, *, with_id: bool = True
) -> AsyncGenerator[bytes]:
    """Frames, several at a time where several events are there, and a heartbeat after each silence; ends with the run.

    Raises:
        EventsLost: the Stream no longer keeps what comes next.
    """
    while True:
        try:
            async with asyncio.timeout(heartbeat_secs):
                events = await source.next_batch()
        except TimeoutError:
            yield HEARTBEAT
            continue
        if events is None:
            return
        for piece in pieces((event.event, event.data, event.id if with_id else None) for event in events):
            yield piece
