"""Events as server-sent events (WHATWG HTML, section 9.2), and the header with which a client comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec

from treadle.errors import InvalidRequest
from treadle.streaming.event import Event, EventId
from treadle.streaming.subscription import Subscription

HEARTBEAT = b": heartbeat\r\n\r\n"
FROM_THE_START = "-1"


class Resume(msgspec.Struct, frozen=True):
    """Where a client wants to go on; the fields are `EventHub.watch`'s."""

    after: EventId | None
    live_only: bool


def parse_last_event_id(value: str | None) -> Resume:
    """Read the Last-Event-ID header: absent: from now on; `-1`: from the start; else after that event.

    Raises:
        InvalidRequest: it is neither `-1` nor an id that Treadle has given out.
    """
    if not value:
        return Resume(after=None, live_only=True)
    if value == FROM_THE_START:
        return Resume(after=None, live_only=False)
    try:
        return Resume(after=EventId.parse(value), live_only=False)
    except InvalidRequest as error:
        raise InvalidRequest(f"Last-Event-ID: {error} Or send `-1` for all events that are kept.") from error


def encode(event: Event, *, with_id: bool = True) -> bytes:
    """One frame. The data is JSON without raw line breaks, so it fits on one line."""
    if with_id:
        return b"event: %b\r\ndata: %b\r\nid: %d-%d\r\n\r\n" % (event.event.encode(), event.data, *event.id)
    return b"event: %b\r\ndata: %b\r\n\r\n" % (event.event.encode(), event.data)


async def frames(
    subscription: Subscription, heartbeat_secs: float, *, with_id: bool = True
) -> AsyncGenerator[bytes]:
    """Frames, as many at a time as there are events, and a heartbeat after each silence; ends with the run.

    Raises:
        EventsLost: the Stream no longer keeps what comes next.
    """
    while True:
        try:
            async with asyncio.timeout(heartbeat_secs):
                events = await subscription.next_batch()
        except TimeoutError:
            yield HEARTBEAT
            continue
        if events is None:
            return
        yield b"".join([encode(event, with_id=with_id) for event in events])
