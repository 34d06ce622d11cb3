"""A network that breaks connections off in the middle."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle

PIECE = 65536
AT_ONCE = struct.pack("ii", 1, 0)


class Cutter:
    """A TCP proxy to several servers in turn; some connections end after so many bytes of the answer.

    Args:
        ports: of the servers, on this machine; each connection goes to the next one.
        limits: bytes of the answer, connection by connection. Connections after the last one are left in peace.
        passing_location: whether the header comes through by which the client reconnects on its own, after a second.
    """

    def __init__(self, ports: Sequence[int], limits: Iterable[int], *, passing_location: bool) -> None:
        self.cuts = 0
        self.port = 0
        self._ports = cycle(ports)
        self._limits: Iterator[int] = iter(limits)
        self._passing_location = passing_location

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[Cutter]:
        """Serve for as long as the block lasts."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", next(self._ports))
        asking = asyncio.create_task(_pass_on(from_client, to_server), name="asking")
        try:
            with suppress(ConnectionError):
                await self._answer(from_server, to_client)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            for writer in (to_client, to_server):
                writer.close()

    async def _answer(self, from_server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        left = next(self._limits, None)
        head = await from_server.readuntil(b"\r\n\r\n")
        piece = head if self._passing_location else _without_location(head)
        while piece:
            if left is not None and len(piece) >= left:
                to_client.write(piece[:left])
                self._cut(to_client)
                return
            to_client.write(piece)
            await to_client.drain()
            left = None if left is None else left - len(piece)
            piece = await from_server.read(PIECE)

    def _cut(self, to_client: asyncio.StreamWriter) -> None:
        """Every other time with a reset, in place of an end."""
        self.cuts += 1
        if self.cuts % 2:
            connection: socket.socket = to_client.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            to_client.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


def _without_location(head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith(b"location:"))
