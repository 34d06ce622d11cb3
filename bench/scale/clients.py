"""Clients of ten thousand streams, with next to nothing between them and the wire."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from bench.server import HOST

LOCATION = re.compile(rb"\r\nlocation: (\S+)\r\n", re.IGNORECASE)
ANSWER_SECS = 30.0
FRAME_END, HEARTBEAT, LAST_CHUNK = b"\r\n\r\n", b": heartbeat", b"0\r\n\r\n"


class Tally:
    """What all clients together have got."""

    def __init__(self) -> None:
        self.open = 0
        self.ended = 0
        self.frames = 0
        self.heartbeats = 0


class Stream(asyncio.Protocol):
    """One client: asks, counts the frames of the answer, and goes when it is over."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self.begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._request = request
        self._tally = tally
        self._head = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.begun.done():
            data = self._begin(data)
        self._tally.frames += data.count(b"event: ")
        self._tally.heartbeats += data.count(HEARTBEAT)

    def _begin(self, data: bytes) -> bytes:
        """Read the head of the answer; returns what is behind it."""
        self._head += data
        head, found, rest = self._head.partition(b"\r\n\r\n")
        if not found:
            return b""
        location = LOCATION.search(head + b"\r\n")
        if not head.startswith(b"HTTP/1.1 200") or location is None:
            self.begun.set_exception(Refused(head[:200].decode(errors="replace")))
            return b""
        self._tally.open += 1
        self.begun.set_result(location[1].decode())
        return rest

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_exception(exc or ConnectionError("closed before it answered"))
        elif not self.begun.cancelled() and self.begun.exception() is None:
            self._tally.open -= 1
            self._tally.ended += 1


class Refused(Exception):
    """The API did not take a request."""


async def begin(port: int, session: Mapping[str, Any], tally: Tally) -> str:
    """Start a run on a new thread and follow it; returns the path of its stream once the API has begun to answer.

    Raises:
        Refused, OSError, TimeoutError: it has not.
    """
    body = {
        "assistant_id": "session",
        "input": session,
        "stream_mode": ["custom"],
        "if_not_exists": "create",
    }
    return await _open(port, "POST", f"/threads/{uuid4()}/runs/stream", body, tally)


async def join(port: int, path: str, tally: Tally) -> str:
    """Follow a run that is on. Raises as `begin` does."""
    return await _open(port, "GET", path, None, tally)


async def _open(port: int, method: str, path: str, body: object, tally: Tally) -> str:
    data = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\ncontent-type: application/json\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(lambda: Stream(head.encode() + data, tally), HOST, port)
    async with asyncio.timeout(ANSWER_SECS):
        return await stream.begun
