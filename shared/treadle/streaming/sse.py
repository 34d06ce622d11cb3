"""Events as server-sent events (WHATWG HTML, section 9.2), and the header with which a client comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from treadle.errors import InvalidRequest
from treadle.streaming.event import Event, EventId

HEARTBEAT = b": heartbeat\r\n\r\n"
# The protocol's clients say it in each of these ways.
FROM_THE_START = frozenset(["", "-1", "0"])


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
    if event_id is None:
        return b"event: %b\r\ndata: %b\r\n\r\n" % (event.encode(), data)
    return b"event: %b\r\ndata: %b\r\nid: %b\r\n\r\n" % (event.encode(), data, str(event_id).encode())


async def frames(
    source: EventSource, heartbeat_secs: float, *, with_id: bool = True
) -> AsyncGenerator[bytes]:
    """Frames, as many at a time as there are events, and a heartbeat after each silence; ends with the run.

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
        yield b"".join([encode(event, with_id=with_id) for event in events])
