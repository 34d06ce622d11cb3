"""What a service gets for a request that it has published."""

from __future__ import annotations

from msgspec import Struct


class Receipt(Struct, frozen=True):
    """NATS keeps the request until it is a run, or a dead letter.

    `message_id` is the name under which it makes one run, however often it is published.
    """

    source: str
    message_id: str
