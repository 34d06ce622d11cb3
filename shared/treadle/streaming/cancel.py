"""The signal that makes a worker stop a run at once. It may be lost: the run's row is what counts."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from uuid import UUID

import msgspec
from redis.asyncio import Redis

from treadle.errors import Unavailable
from treadle.model import CancelAction
from treadle.patience import Tell, nobody
from treadle.streaming.connection import AWAY, Link, answered
from treadle.streaming.pubsub import Message, open_pubsub

log = logging.getLogger(__name__)

CHANNEL = "treadle:cancel"


class CancelSignal(msgspec.Struct, frozen=True):
    run_id: UUID
    action: CancelAction


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CancelSignal)


class CancelBus:
    """Tells every worker which run to stop; the worker that has it acts.

    Args:
        tell: is told how Redis is, while somebody listens.
    """

    def __init__(self, redis: Redis, tell: Tell = nobody) -> None:
        self._redis = redis
        self._tell = tell

    async def publish(self, run_id: UUID, action: CancelAction) -> None:
        """Signal a cancel that is already in the run's row.

        Raises:
            Unavailable: Redis cannot be reached; the worker sees the row's flag at its next heartbeat.
        """
        try:
            async with answered():
                await self._redis.publish(CHANNEL, _encoder.encode(CancelSignal(run_id, action)))
        except AWAY as error:
            raise Unavailable(
                f"The cancel of run {run_id} could not be signalled over Redis: {error}. It is recorded: the "
                "worker sees it at its next heartbeat."
            ) from error

    async def listen(self) -> AsyncGenerator[CancelSignal]:
        """Every signal from now on, reconnecting for ever. Close it, or cancel its task, to stop."""
        link = Link("cancel signals", self._tell)
        while True:
            try:
                async with open_pubsub(self._redis) as connection:
                    await connection.subscribe([CHANNEL])
                    while True:
                        heard = await connection.receive()
                        link.found()
                        if isinstance(heard, Message) and (signal := _signal(heard.payload)) is not None:
                            yield signal
            except AWAY as error:
                link.lost(error)
            await link.pause()


def _signal(payload: bytes) -> CancelSignal | None:
    try:
        return _decoder.decode(payload)
    except msgspec.DecodeError as error:
        log.error("skipped what is no cancel signal (is another program using this Redis?): %s", error)
        return None
