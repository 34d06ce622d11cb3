"""The protocol over a websocket: commands come in, their answers and the events of all subscriptions go out.

A client that reads more slowly than its thread tells holds its own subscriptions up, and nothing else: sending waits
for it, and what it has not read yet stays in Redis.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import Any, cast
from uuid import UUID

import msgspec

from treadle import json
from treadle.db.scope import Scope
from treadle.errors import TreadleError
from treadle.wire.limits import BodyLimits
from treadle_api.access.access import Access
from treadle_api.open_answers import AnySocket
from treadle_api.protocol.commands import (
    Envelope,
    ProtocolCommands,
    Refused,
    Result,
    id_of,
    read_command,
    refusal,
    success,
)
from treadle_api.protocol.events import ProtocolEvent, lost
from treadle_api.protocol.filters import read_filter
from treadle_api.protocol.streams import ProtocolStreams, Told
from treadle_api.protocol.subscriptions import Subscriptions

log = logging.getLogger(__name__)

# The clients take 4000 plus a status of HTTP for that status, and do not come back after one of 400 to 499.
REFUSED = 4000
SUBSCRIPTION_FAILED = 1011


class ProtocolSocket:
    """One accepted connection to one thread."""

    def __init__(
        self,
        socket: AnySocket,
        access: Access,
        thread_id: UUID,
        commands: ProtocolCommands,
        streams: ProtocolStreams,
        limits: BodyLimits,
    ) -> None:
        self._socket = socket
        self._access = access
        self._thread_id = thread_id
        self._commands = commands
        self._streams = streams
        self._limits = limits
        self._subscriptions = Subscriptions()
        self._telling: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Until the client goes."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while (frame := await self._received()) is not None:
                    await self._send(await self._answer(frame, tasks))
                await self._stop_telling()
        except* OSError as gone:
            log.debug("the client of thread %s went while it was told something: %r", self._thread_id, gone)

    async def _received(self) -> str | bytes | None:
        message = cast("dict[str, Any]", await self._socket.receive())
        if message["type"] == "websocket.disconnect":
            return None
        return message.get("text") or message.get("bytes") or b""

    async def _answer(self, frame: str | bytes, tasks: asyncio.TaskGroup) -> Result:
        given: Any = None
        try:
            given = self._limits.read(frame)
            command = read_command(given)
            match command.method:
                case "subscription.subscribe":
                    return await self._subscribe(command, tasks)
                case "subscription.unsubscribe":
                    return await self._unsubscribe(command)
                case _:
                    return await self._commands.execute(self._access, self._thread_id, command)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return refusal(None, Refused("invalid_argument", f"A command is a JSON object: {error}"))
        except TreadleError as error:
            return refusal(id_of(given), error)

    async def _subscribe(self, command: Envelope, tasks: asyncio.TaskGroup) -> Result:
        """Add to what is told. The stream begins anew, where the new subscription wants it to."""
        wanted = read_filter(command.params)
        scope = await self._streams.check(self._access, self._thread_id)
        await self._stop_telling()
        subscription_id = self._subscriptions.add(wanted)
        self._telling = tasks.create_task(self._tell(scope), name=f"events-{self._thread_id}")
        return success(command.id, {"subscription_id": subscription_id})

    async def _unsubscribe(self, command: Envelope) -> Result:
        subscription_id = str(command.params.get("subscription_id"))
        if not self._subscriptions.remove(subscription_id):
            raise Refused("no_such_subscription", f"Unknown subscription: {subscription_id[:64]}")
        if not self._subscriptions:
            await self._stop_telling()
        return success(command.id, {})

    async def _stop_telling(self) -> None:
        telling, self._telling = self._telling, None
        if telling is not None:
            telling.cancel()
            await asyncio.wait({telling})

    async def _tell(self, scope: Scope) -> None:
        """Send what is subscribed to; a stream that cannot go on ends the connection, so that the client comes back."""
        try:
            async with aclosing(self._streams.follow(scope, self._thread_id, self._subscriptions)) as batches:
                async for batch in batches:
                    for event in batch:
                        await self._send_event(event)
        except TreadleError as error:
            await self._socket.send_data(lost(error), mode="text")
            await self._socket.close(SUBSCRIPTION_FAILED, "the stream cannot go on; subscribe again")

    async def _send_event(self, event: Told) -> None:
        if not isinstance(event, ProtocolEvent):
            await self._socket.send_data(event, mode="text")
        elif self._subscriptions.wants(event):  # they may have changed since the batch was made
            await self._socket.send_data(event.json, mode="text")
            self._subscriptions.told(event)

    async def _send(self, answer: Result) -> None:
        await self._socket.send_data(json.encode(answer), mode="text")
