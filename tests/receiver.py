"""A receiver of webhooks: a real HTTP server that keeps what it gets, and answers what it is told to."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

WAIT_SECS = 20.0


class Received(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


class Receiver:
    """Answers 200, or what `answers` has for a path: heads of answers, one after the other; None: no answer at all."""

    def __init__(self) -> None:
        self.answers: defaultdict[str, deque[str | None]] = defaultdict(deque)
        self.port = 0
        self._received: list[Received] = []
        self._grown = asyncio.Condition()
        self._over = asyncio.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        """What has come to a path until now."""
        return [each for each in self._received if each.path == path]

    async def got(self, path: str, count: int = 1) -> list[Received]:
        """Wait until so many requests have come to a path."""
        async with asyncio.timeout(WAIT_SECS), self._grown:
            await self._grown.wait_for(lambda: len(self.at(path)) >= count)
        return self.at(path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            received = await _request(reader)
            async with self._grown:
                self._received.append(received)
                self._grown.notify_all()
            answers = self.answers[received.path]
            answer = answers.popleft() if answers else "200 OK"
            if answer is None:
                await self._over.wait()
            else:
                writer.write(f"HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    @asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None = None) -> AsyncGenerator[Receiver]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._over.set()
            server.close()


async def _request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    method, path, _ = first.split()
    return Received(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
