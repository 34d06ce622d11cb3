"""Pulling from a durable consumer, one message at a time: whoever has no hands free holds nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from treadle.messaging.connection import NATS_ERRORS

log = logging.getLogger(__name__)

D = TypeVar("D")


class Inbox(Generic[D]):
    """Messages of one consumer.

    Args:
        read: makes of a message what it is; a msgspec.DecodeError: it is not, and is dropped.
    """

    def __init__(self, stream: JetStreamContext, name: str, consumer: str, read: Callable[[Msg], D]) -> None:
        self._stream = stream
        self._name = name
        self._consumer = consumer
        self._read = read
        self._subscription: JetStreamContext.PullSubscription | None = None

    async def pull(self, wait_secs: float) -> D | None:
        """The next message, or None when there was none for `wait_secs`.

        Raises:
            nats.errors.Error, OSError: NATS is away, or has lost the consumer.
        """
        if self._subscription is None:
            self._subscription = await self._stream.pull_subscribe_bind(self._consumer, self._name)
        try:
            message = (await self._subscription.fetch(1, timeout=wait_secs))[0]
        except TimeoutError:
            return None
        try:
            return self._read(message)
        except msgspec.DecodeError:
            log.error("a message on %s cannot be read; it is dropped", message.subject)
            await message.term()
            return None

    async def close(self) -> None:
        """Stop pulling; the server forgets the request that waits. What was under way comes again elsewhere."""
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        try:
            await subscription.unsubscribe()
        except NATS_ERRORS as error:
            log.debug("inbox closed without unsubscribing: %r", error)
