"""Closing a client of NATS for good."""

from __future__ import annotations

import asyncio

from nats.aio.client import Client

from treadle.patience import being_cancelled


class Closing:
    """Ends what a closed client would go on with.

    nats-py cancels its reconnecting when it is closed. That is forgotten if it comes as an attempt to connect succeeds or fails
    (bpo-42130: `asyncio.wait_for`, up to Python 3.11): it would try for ever, and its loop would never end. So what the client
    calls in both cases looks whether it still should. The same goes for a first attempt that is cancelled.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._closer: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        return self._closer is not None

    def begin(self) -> None:
        """From now on no attempt follows the one that is under way."""
        self._closer = asyncio.current_task()

    async def close(self) -> None:
        """Close the client."""
        self.begin()
        try:
            await self._client.close()
        except asyncio.CancelledError:
            # The client waits for the end of its socket in two places, and cancelling one of them has cancelled the other.
            if being_cancelled():
                raise

    def failed(self) -> None:
        """For whoever is told that an attempt has failed: raises CancelledError, which ends the attempts, if they are to end."""
        closing = self.begun and self._closer is not asyncio.current_task()
        if closing or (not self.begun and being_cancelled()):
            raise asyncio.CancelledError

    async def connected(self) -> None:
        """For whoever is told that an attempt has succeeded: a client that is to be closed is closed again."""
        if self.begun:
            await self._client.close()
