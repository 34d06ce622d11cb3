"""TLS before a real server whose own build has none (the wheels of Postgres and Valkey are made without OpenSSL).

It ends TLS as stunnel does. Before Postgres it answers the client's SSLRequest, as Postgres itself would.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.certificates import HOST

# https://www.postgresql.org/docs/current/protocol-message-formats.html
SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
PIECE_BYTES = 65536


class TlsFront:
    """Listens with TLS, and passes what comes on to a server's socket.

    Args:
        postgres: whether clients ask for TLS in the protocol of Postgres; otherwise they begin with it.
    """

    def __init__(self, target: Path, context: ssl.SSLContext, *, postgres: bool) -> None:
        self._target, self._context, self._postgres = target, context, postgres
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[TlsFront]:
        context = None if self._postgres else self._context
        server = await asyncio.start_server(self._accepted, HOST, 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tuple(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            try:
                if not self._postgres or await self._negotiated(reader, writer):
                    await self._passed_on(reader, writer)
            finally:
                writer.close()

    async def _negotiated(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the client has asked for TLS; one that has not is turned away."""
        while True:
            _, code = struct.unpack("!II", await reader.readexactly(8))
            if code != GSS_REQUEST:
                break
            writer.write(b"N")
        if code != SSL_REQUEST:
            return False
        writer.write(b"S")
        await writer.start_tls(self._context)
        return True

    async def _passed_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(str(self._target))
        ways = {
            asyncio.create_task(_copy(reader, to_server)),
            asyncio.create_task(_copy(from_server, writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
