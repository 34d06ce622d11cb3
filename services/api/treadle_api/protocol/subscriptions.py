"""What one connection has subscribed to, as one stream.

The clients take the end of a run for the end of all that they are told of it, whichever subscription brings it. So
the events of all subscriptions of a connection come in the order of the thread, each of them once.
"""

from __future__ import annotations

from uuid import uuid4

import msgspec

from treadle_api.protocol.events import ProtocolEvent
from treadle_api.protocol.filters import EventFilter


class _Subscription(msgspec.Struct, frozen=True):
    """A filter, and the `seq` after which it counts."""

    filter: EventFilter
    after: int


class Subscriptions:
    """The filters of a connection, together as one filter."""

    def __init__(self) -> None:
        self._of: dict[str, _Subscription] = {}
        self._told = 0

    def __bool__(self) -> bool:
        return bool(self._of)

    @property
    def since(self) -> int:
        """The `seq` after which some subscription has something to come."""
        return min(each.after for each in self._of.values())

    def wants(self, event: ProtocolEvent) -> bool:
        """Whether an event is wanted by a subscription that has not had it."""
        return any(event.seq > each.after and each.filter.wants(event) for each in self._of.values())

    def told(self, event: ProtocolEvent) -> None:
        """Remember that an event is on its way to the client."""
        self._told = max(self._told, event.seq)

    def add(self, wanted: EventFilter) -> str:
        """Add a filter. From now on the stream begins at its `since`, and tells the others what they have not had.

        Returns:
            The subscription's id.
        """
        for subscription_id, each in self._of.items():
            self._of[subscription_id] = _Subscription(each.filter, max(each.after, self._told))
        subscription_id = str(uuid4())
        self._of[subscription_id] = _Subscription(wanted, wanted.since or 0)
        return subscription_id

    def remove(self, subscription_id: str) -> bool:
        """Take a filter away; False when there is none of this id."""
        return self._of.pop(subscription_id, None) is not None
