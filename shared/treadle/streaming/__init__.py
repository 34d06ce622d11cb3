"""Live events of runs, and the cancel signal: what Redis carries, all of which may be lost.

The worker writes each run's events through `EventPublisher`; the API reads them through `EventHub`. A Redis
that is emptied or restarted without persistence forgets the events that it kept: streams that are being
watched go on with whatever is written from then on, and a run's outcome is in Postgres in any case.
"""

from treadle.streaming.cancel import CancelBus, CancelSignal
from treadle.streaming.connection import connect
from treadle.streaming.event import Event, EventId, place_of, thread_channel
from treadle.streaming.finish import publish_end
from treadle.streaming.history import EventsLost
from treadle.streaming.hub import EventHub
from treadle.streaming.limits import StreamLimits
from treadle.streaming.news import ThreadNews, announce_state
from treadle.streaming.publisher import EventPublisher
from treadle.streaming.sse import (
    HEARTBEAT,
    PIECE_BYTES,
    EventSource,
    Frame,
    encode,
    frame,
    frames,
    parse_last_event_id,
    pieces,
)
from treadle.streaming.subscription import Subscription
from treadle.streaming.writer import EventWriter

__all__ = [
    "HEARTBEAT",
    "PIECE_BYTES",
    "CancelBus",
    "CancelSignal",
    "Event",
    "EventHub",
    "EventId",
    "EventPublisher",
    "EventSource",
    "EventWriter",
    "EventsLost",
    "Frame",
    "StreamLimits",
    "Subscription",
    "ThreadNews",
    "announce_state",
    "connect",
    "encode",
    "frame",
    "frames",
    "parse_last_event_id",
    "pieces",
    "place_of",
    "publish_end",
    "thread_channel",
]
