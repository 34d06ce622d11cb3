"""A network that can be spoilt: a TCP proxy before one server, in each direction and at any moment."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import parse_qs, urlsplit

PIECE_BYTES = 65536
# Slow connections carry a piece this often.
SLOW_TICK_SECS = 0.05
# How long after the last delayed piece what comes behind it may go.
BEHIND_SECS = 0.001
# An open socket with this lingering is reset when it is closed.
AT_ONCE = struct.pack("ii", 1, 0)
LOOPBACK = "127.0.0.1"


class Plain(Enum):
    """What the network does that needs no figures."""

    PASS = auto()
    CUT = auto()
    """What is open is reset, and so is what is new, as soon as it is made."""
    HALF_OPEN = auto()
    """All is accepted and nothing arrives; what was open then says nothing any more, ever, and does not end."""


@dataclass(frozen=True)
class Delay:
    """All arrives in order, `secs` later, and up to `jitter` seconds more."""

    secs: float
    jitter: float = 0.0


@dataclass(frozen=True)
class Slow:
    """So many bytes in a second, on each connection."""

    bytes_per_sec: float


Mode = Plain | Delay | Slow


class Way(Enum):
    """The directions that a mode is for."""

    TO_SERVER = auto()
    TO_CLIENT = auto()


BOTH = frozenset(Way)


class Proxy:
    """Stands for a server, at an address that lasts as long as the proxy listens.

    Args:
        target: the server's URL, asked at each connection: a Unix socket (as Postgres and Valkey have it) or a port.
        chance: decides how late each message is.
    """

    def __init__(self, target: Callable[[], str], chance: random.Random | None = None) -> None:
        self._target = target
        self.asked = 0
        """How many connections have been asked for so far, those that were refused among them."""
        self._port = 0
        self._modes: dict[Way, Mode] = dict.fromkeys(Way, Plain.PASS)
        self._open: set[_Connection] = set()
        self._chance = chance or random.Random()

    @property
    def url(self) -> str:
        """The server's URL with the proxy's address in it."""
        parts = urlsplit(self._target())
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        if parts.scheme == "unix":
            return f"redis://{LOOPBACK}:{self._port}"
        return f"{parts.scheme}://{user}{LOOPBACK}:{self._port}{parts.path}"

    @property
    def connections(self) -> int:
        """How many are open now, dead ones among them."""
        return len(self._open)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[Proxy]:
        """Serve for as long as the block lasts."""
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in tuple(self._open):
                connection.cut()
            await asyncio.gather(*(connection.ended.wait() for connection in tuple(self._open)))

    def mode(self, way: Way) -> Mode:
        return self._modes[way]

    def turn(self, mode: Mode, ways: frozenset[Way] = BOTH) -> None:
        """Do this from now on, with what is open as with what is new."""
        for way in ways:
            self._modes[way] = mode
        for connection in tuple(self._open):
            if mode is Plain.CUT:
                connection.cut()
            elif mode is Plain.HALF_OPEN:
                connection.deafen(ways)

    @asynccontextmanager
    async def turned(self, mode: Mode, ways: frozenset[Way] = BOTH) -> AsyncGenerator[None]:
        """Do this for as long as the block lasts. Connections that fell silent stay silent."""
        self.turn(mode, ways)
        try:
            yield
        finally:
            self.turn(Plain.PASS, ways)

    def jitter(self, most_secs: float) -> float:
        return self._chance.uniform(0, most_secs)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        connection = _Connection(self, from_client, to_client)
        self._open.add(connection)
        self.asked += 1
        try:
            if Plain.CUT in self._modes.values():
                connection.cut()
                return
            connection.deafen(frozenset(way for way in Way if self._modes[way] is Plain.HALF_OPEN))
            await connection.serve(self._target())
        finally:
            self._open.discard(connection)
            connection.ended.set()


class _Connection:
    """One connection of a client, with the one to the server behind it."""

    def __init__(
        self, proxy: Proxy, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        self.ended = asyncio.Event()
        self._proxy = proxy
        self._from_client = from_client
        self._writers = [to_client]
        self._deaf: set[Way] = set()

    def deafen(self, ways: frozenset[Way]) -> None:
        """Let nothing through any more, for as long as the connection lives."""
        self._deaf |= ways

    def cut(self) -> None:
        """End both sides with a reset."""
        for writer in self._writers:
            _reset(writer)

    async def serve(self, target: str) -> None:
        """Carry what comes, both ways, until either side ends it."""
        try:
            from_server, to_server = await _connect(target)
        except OSError:
            self.cut()
            return
        [to_client] = self._writers
        self._writers.append(to_server)
        asking = asyncio.create_task(self._carry(Way.TO_SERVER, self._from_client, to_server), name="asking")
        answering = asyncio.create_task(self._carry(Way.TO_CLIENT, from_server, to_client), name="answering")
        try:
            await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() or self._deaf:
                await asyncio.wait({asking, answering})
        finally:
            for task in (asking, answering):
                task.cancel()
            await asyncio.gather(asking, answering, return_exceptions=True)
            for writer in self._writers:
                writer.close()

    async def _carry(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until this side ends. Where nothing comes through any more, the other is not told of that either."""
        loop, due = asyncio.get_running_loop(), 0.0
        try:
            while piece := await reader.read(self._piece_bytes(way)):
                if way in self._deaf:
                    continue
                match self._proxy.mode(way):
                    case Delay(secs, jitter):
                        due = max(due + 1e-6, loop.time() + secs + self._proxy.jitter(jitter))
                        loop.call_at(due, self._write, way, writer, piece)
                    case Slow(bytes_per_sec):
                        self._write(way, writer, piece)
                        await asyncio.sleep(len(piece) / bytes_per_sec)
                    case _:
                        due = await _passed(due)
                        self._write(way, writer, piece)
                        await writer.drain()
            await _passed(due)
            if way not in self._deaf and writer.can_write_eof():
                writer.write_eof()
        except ConnectionError:
            self.cut()

    def _piece_bytes(self, way: Way) -> int:
        mode = self._proxy.mode(way)
        return max(1, int(mode.bytes_per_sec * SLOW_TICK_SECS)) if isinstance(mode, Slow) else PIECE_BYTES

    def _write(self, way: Way, writer: asyncio.StreamWriter, piece: bytes) -> None:
        if way not in self._deaf and not writer.is_closing():
            writer.write(piece)


async def _passed(due: float) -> float:
    """Wait until what was to be written at that time of the loop has been; 0.0: nothing is delayed. Returns 0.0."""
    if due:
        # Both are timers of the loop, which calls the later one after the earlier one.
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()) + BEHIND_SECS)
    return 0.0


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() != -1 and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()


async def _connect(target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(target)
    if parts.scheme == "unix":
        return await asyncio.open_unix_connection(parts.path)
    if directory := parse_qs(parts.query).get("host"):
        return await asyncio.open_unix_connection(f"{directory[0]}/.s.PGSQL.5432")
    return await asyncio.open_connection(parts.hostname, parts.port)
