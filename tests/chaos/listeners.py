"""Clients of streams that count what they get, and others that never read."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httptools

from tests.chaos.raw import request

# Smaller than anything that a kernel gives by itself.
TINY_BYTES = 4096
IDS = re.compile(rb"\r\nid: (\d+)-(\d+)\r\n")
# As long as the frame of an id may be.
TAIL_BYTES = 64
# RFC 6455, section 4.1.
UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec_websocket_version": "13",
    "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Listener(asyncio.Protocol):
    """Reads a stream to its end, and keeps the ids of its events."""

    def __init__(self, head: bytes) -> None:
        self.ids: list[tuple[int, int]] = []
        self.begun = asyncio.get_running_loop().create_future()
        self.ended = asyncio.get_running_loop().create_future()
        self._head = head
        self._tail = b""
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.begun, self.ended):
            if not future.done():
                future.set_result(False)

    def on_headers_complete(self) -> None:
        self.begun.set_result(self._parser.get_status_code() == 200)

    def on_body(self, body: bytes) -> None:
        text = self._tail + body
        found = list(IDS.finditer(text))
        self.ids += [(int(each[1]), int(each[2])) for each in found]
        # A match must not be found twice, nor be missed where it is cut in two.
        self._tail = text[max(found[-1].end() - 2 if found else 0, len(text) - TAIL_BYTES) :]

    def on_message_complete(self) -> None:
        self.ended.set_result(True)


async def listen(port: int, path: str, method: str = "GET", body: object = None, **headers: str) -> Listener:
    """A client that reads; its answer has begun."""
    loop = asyncio.get_running_loop()
    head = request(method, path, body, **headers)
    _, listener = await loop.create_connection(lambda: Listener(head), "127.0.0.1", port)
    assert await listener.begun
    return listener


@asynccontextmanager
async def deaf(
    port: int, path: str, method: str = "GET", body: object = None, **headers: str
) -> AsyncGenerator[socket.socket]:
    """A client that asks, and never reads; its socket takes next to nothing."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TINY_BYTES)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, request(method, path, body, **headers))
        yield client


async def rest(client: socket.socket) -> bytes:
    """What had reached a client before it was cut off."""
    loop, read = asyncio.get_running_loop(), b""
    try:
        while data := await loop.sock_recv(client, 65536):
            read += data
    except ConnectionError:
        return read
    return read


def masked(message: object) -> bytes:
    """A message as a client's frame on a websocket (RFC 6455, section 5.2), masked with zeros; up to 64 KiB."""
    data = json.dumps(message).encode()
    return struct.pack("!BBHI", 0x81, 0x80 | 126, len(data), 0) + data
