"""Answers that stay open: event streams, and results that are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any
from uuid import UUID

from litestar.types import Receive, Scope, Send

from treadle import json
from treadle.errors import TreadleError
from treadle.streaming import PIECE_BYTES

# In the scope of a request whose answer is to have no body.
ONLY_HEADERS = "treadle.only_headers"

Cleanup = Callable[[], Awaitable[None]]

# Whitespace before a JSON value says nothing, and keeps proxies from closing a silent connection.
STILL_WAITING = b"\n"


def run_headers(thread_id: UUID, run_id: UUID, again: str) -> dict[str, str]:
    """The headers by which a client finds its run again after a lost connection.

    Args:
        again: the last part of the path to come back to: `stream` or `join`.
    """
    run = f"/threads/{thread_id}/runs/{run_id}"
    return {"content-location": run, "location": f"{run}/{again}"}


class OpenResponse:
    """Sends pieces as they come, until they end or the client goes.

    Args:
        pieces: what to send. An error in it breaks the connection off, so that no client takes a part for the whole.
        resources: closed when the response is over, however it ends.
        on_disconnect: awaited when the client goes before the end.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        headers: Mapping[str, str],
        *,
        resources: AsyncExitStack,
        on_disconnect: Cleanup | None = None,
    ) -> None:
        self._pieces = pieces
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._resources = resources
        self._on_disconnect = on_disconnect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._resources:
            if ONLY_HEADERS in scope:
                await self._pieces.aclose()
                await send({"type": "http.response.start", "status": 200, "headers": self._headers})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            sending = asyncio.create_task(self._send(send), name="response")
            leaving = asyncio.create_task(_disconnected(receive), name="client")
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
                elif self._on_disconnect is not None:
                    await self._on_disconnect()
            finally:
                for task in (sending, leaving):
                    task.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                for start in range(0, len(piece), PIECE_BYTES):
                    part = piece[start : start + PIECE_BYTES]
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


EVENT_STREAM = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}
JSON = {"content-type": "application/json"}


async def waited_for(
    wait: Callable[[], Coroutine[Any, Any, bytes]], heartbeat_secs: float
) -> AsyncGenerator[bytes]:
    """What `wait` brings, with signs of life before it. An error on the way is told as a run's error is."""
    task = asyncio.create_task(wait(), name="result")
    try:
        while not (await asyncio.wait({task}, timeout=heartbeat_secs))[0]:
            yield STILL_WAITING
        yield task.result()
    except TreadleError as error:
        yield json.encode({"__error__": {"error": type(error).__name__, "message": str(error)}})
    finally:
        task.cancel()
