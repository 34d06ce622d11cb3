"""One pub/sub connection, seen plainly: what arrives, and which channels are confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from treadle.streaming.connection import answered, closing_told

# A connection on which nothing arrives from one look to the next is asked whether it still lives, and has until the next to answer.
LOOK_SECS = 3.0


class Message(msgspec.Struct, frozen=True):
    channel: str
    payload: bytes


class Subscribed(msgspec.Struct, frozen=True):
    """Redis confirms: from here on every message on this channel arrives."""

    channel: str


class PubSubConnection:
    """Made by `open_pubsub`. One task may receive while another subscribes and unsubscribes."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._heard = False

    async def subscribe(self, channels: Iterable[str]) -> None:
        await self._send("SUBSCRIBE", *channels)

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        await self._send("UNSUBSCRIBE", *channels)

    async def receive(self) -> Message | Subscribed:
        """The next thing that arrives; raises one of `connection.AWAY` when the connection is lost."""
        while True:
            reply = cast(
                "Any",
                await self._connection.read_response(disconnect_on_error=False, push_request=True),
            )
            self._heard = True
            if (heard := _heard(reply)) is not None:
                return heard

    async def probe(self) -> None:
        """Ask a connection that has fallen silent whether it still lives, until it does not: then raises one of AWAY.

        Beside the task that receives, as a timer for each message would cost more than the message.
        """
        asked = False
        while True:
            self._heard = False
            await asyncio.sleep(LOOK_SECS)
            if self._heard:
                asked = False
            elif asked:
                raise RedisConnectionError(
                    f"nothing was heard on the pub/sub connection for {2 * LOOK_SECS:.0f} s"
                )
            else:
                asked = True
                await self._send("PING")

    async def _send(self, *command: str) -> None:
        with closing_told():
            await self._connection.send_command(*command, check_health=False)


def _heard(reply: Any) -> Message | Subscribed | None:
    match reply:
        case [b"message", channel, payload]:
            return Message(cast("bytes", channel).decode(), cast("bytes", payload))
        case [b"subscribe", channel, _]:
            return Subscribed(cast("bytes", channel).decode())
        case _:
            return None


@asynccontextmanager
async def open_pubsub(redis: Redis) -> AsyncGenerator[PubSubConnection]:
    """A connection of its own, dropped at the end; raises one of `connection.AWAY` when Redis is away."""
    pool = redis.connection_pool
    async with answered():
        connection = await pool.get_connection()
    try:
        yield PubSubConnection(connection)
    finally:
        await connection.disconnect(nowait=True)
        await pool.release(connection)
