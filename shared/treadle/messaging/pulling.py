"""Pulling from a durable consumer: a bounded number of messages is asked for at a time, and each is there as it comes.

The client's own `fetch` answers only when all it asked for has come, or its time is over: too late for the first of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from treadle.messaging.connection import NATS_ERRORS

log = logging.getLogger(__name__)

# How long the server keeps a request for messages that is not used up.
EXPIRES_SECS = 10.0
# It says this often that it still does; when it falls silent for longer, it has forgotten the request.
HEARTBEAT_SECS = 1.0
SILENCE_SECS = 2.5
CLOSE_SECS = 2.0

STATUS = "Status"
HEARTBEAT = "100"
# Nothing came, or no more: the request is over.
OVER = frozenset({"404", "408"})


class PullLost(nats.errors.Error):
    """The server has lost the request for messages, or the consumer; what was delivered comes again."""


class Pull:
    """Messages of one durable consumer."""

    def __init__(self, client: Client, subject: str, inbox: str, arrived: asyncio.Queue[Msg]) -> None:
        self._client = client
        self._subject = subject
        self._inbox = inbox
        self._arrived = arrived

    async def batch(self, most: int) -> AsyncGenerator[Msg]:
        """Up to so many messages, as they come; fewer when it stays quiet.

        Raises:
            PullLost: the consumer is gone, or the connection was.
            nats.errors.Error, OSError: NATS is away.
        """
        await self._ask(most)
        left = most
        while left:
            message = await self._next()
            status = status_of(message)
            if status is None:
                left -= 1
                yield message
            elif status in OVER:
                return
            elif status != HEARTBEAT:
                raise PullLost(f"nats: {status} {(message.headers or {}).get('Description', '')}")

    async def _ask(self, most: int) -> None:
        wish = {
            "batch": most,
            "expires": int(EXPIRES_SECS * 1e9),
            "idle_heartbeat": int(HEARTBEAT_SECS * 1e9),
        }
        await self._client.publish(self._subject, json.dumps(wish).encode(), reply=self._inbox)

    async def _next(self) -> Msg:
        if not self._arrived.empty():
            return self._arrived.get_nowait()
        try:
            async with asyncio.timeout(SILENCE_SECS):
                return await self._arrived.get()
        except TimeoutError:
            raise PullLost("nats: the server fell silent") from None


def status_of(message: Msg) -> str | None:
    """What the server says of the request; None: this is a message, whatever its publisher wrote into its headers."""
    return None if message.reply else (message.headers or {}).get(STATUS)


@asynccontextmanager
async def pulling(client: Client, stream: str, consumer: str) -> AsyncGenerator[Pull]:
    """Messages of a consumer, for as long as the block lasts. What arrived and was not taken is given back."""
    arrived: asyncio.Queue[Msg] = asyncio.Queue()

    async def arrive(message: Msg) -> None:
        arrived.put_nowait(message)

    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=arrive)
    try:
        yield Pull(client, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", inbox, arrived)
    finally:
        await give_up(client, subscription, arrived)


async def give_up(client: Client, subscription: Subscription, arrived: asyncio.Queue[Msg]) -> None:
    """Stop pulling, and put back what was under way, for somebody else to have it at once. NATS may be away."""
    try:
        if client.is_connected:
            async with asyncio.timeout(CLOSE_SECS):
                await subscription.drain()  # all that the server has sent has arrived then
        elif not client.is_closed:
            await subscription.unsubscribe()
        while not arrived.empty():
            message = arrived.get_nowait()
            if message.reply:
                await message.nak()
    except NATS_ERRORS as error:
        log.debug("what was pulled comes again later: %r", error)
