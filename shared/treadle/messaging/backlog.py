"""How many more wake-ups of a route NATS can do with: enough that no worker waits for one, and no more."""

from __future__ import annotations

from treadle.messaging.connection import NATS_ERRORS
from treadle.messaging.pace import Pace
from treadle.messaging.subjects import RUNS_STREAM, route_consumer
from treadle.messaging.wakeups import Connection

LOOK_TIMEOUT_SECS = 1.0


class Backlog:
    """The wake-ups of a route that no worker has taken yet."""

    def __init__(self, connection: Connection, route: str) -> None:
        self._nats = connection
        self._route = route
        self._pace = Pace()

    async def room(self) -> int:
        """How many more wake-ups may be published now; 0 or less: none, also while NATS cannot tell.

        One for each slot that waits for one, and what may lie ready.
        """
        if not self._nats.connected:
            return 0
        stream = self._nats.client.jetstream(timeout=LOOK_TIMEOUT_SECS)
        try:
            info = await stream.consumer_info(RUNS_STREAM, route_consumer(self._route))
        except NATS_ERRORS:
            return 0
        delivered = 0 if info.delivered is None else info.delivered.consumer_seq
        return (info.num_waiting or 0) + self._pace.ahead(delivered) - (info.num_pending or 0)
