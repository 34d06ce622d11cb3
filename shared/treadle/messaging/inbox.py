"""Pulling from a durable consumer, one message at a time: whoever has no hands free holds nothing.

The client's own `fetch` loses what is on its way when it is given up, which comes again only when its AckWait is over.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from treadle.messaging.pulling import OVER, give_up, status_of

log = logging.getLogger(__name__)

D = TypeVar("D")

# The server says when a request is over; it is not waited for longer than this.
LATE_SECS = 1.0


class RequestLost(nats.errors.Error):
    """The server refused to give messages: the consumer is gone, or moves."""


class Inbox(Generic[D]):
    """Messages of one consumer.

    Args:
        read: makes of a message what it is; a msgspec.DecodeError: it is not, and is dropped.
    """

    def __init__(self, client: Client, stream: str, consumer: str, read: Callable[[Msg], D]) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._read = read
        self._name = client.new_inbox()
        self._requests = itertools.count()
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue()
        self._subscription: Subscription | None = None

    async def pull(self, wait_secs: float) -> D | None:
        """The next message, or None when there was none for `wait_secs`.

        Raises:
            nats.errors.Error, OSError: NATS is away, or has lost the consumer.
        """
        if self._subscription is None:
            self._subscription = await self._client.subscribe(f"{self._name}.*", cb=self._arrive)
        message = await self._next(wait_secs)
        if message is None:
            return None
        try:
            return self._read(message)
        except msgspec.DecodeError:
            log.error("a message on %s cannot be read; it is dropped", message.subject)
            await message.term()
            return None

    async def _arrive(self, message: Msg) -> None:
        self._arrived.put_nowait(message)

    async def _next(self, wait_secs: float) -> Msg | None:
        reply = ""
        if self._arrived.empty():
            reply = f"{self._name}.{next(self._requests)}"
            wish = {"batch": 1, "expires": int(wait_secs * 1e9)}
            await self._client.publish(self._subject, json.dumps(wish).encode(), reply=reply)
        try:
            async with asyncio.timeout(wait_secs + LATE_SECS):
                return await self._answer(reply)
        except TimeoutError:
            return None

    async def _answer(self, reply: str) -> Msg | None:
        """The message that a request brings; what the server says of older requests is no answer to it."""
        while True:
            message = await self._arrived.get()
            status = status_of(message)
            if status is None:
                return message
            if message.subject == reply:
                if status in OVER:
                    return None
                raise RequestLost(f"nats: {status} {(message.headers or {}).get('Description', '')}")

    async def close(self) -> None:
        """Stop pulling. What was under way is put back, for somebody else to have it at once."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await give_up(self._client, subscription, self._arrived)
