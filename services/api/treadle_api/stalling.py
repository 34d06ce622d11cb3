"""Clients that take nothing any more are cut off: what they hold would be held for ever.

A connection whose client does not read fills the buffers on the way, and then whatever sends waits. Nothing ends that wait by
itself as long as the client's host is there. So each connection is watched while its buffer is full, and is
broken off when nothing has left it for some time. To everything else that is a client that went: its run is cancelled if it
wished so, and it can come back with the id of the last event that it has seen.

A client that reads slowly is not cut off: something leaves the buffer now and then. But its host makes room in steps of a hundred
kilobytes or so, however it is asked, and a client that is slower than a step in the allowed silence looks like one that does not read.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

log = logging.getLogger(__name__)

# So many times in the allowed silence a full buffer is looked at.
LOOKS = 4
# What a connection may hold in the kernel that was not sent yet; by default it is megabytes, and old news when it arrives.
UNSENT_BYTES = 128 * 1024
# What it may hold in this process, and a piece more, before whatever sends waits.
BUFFER_BYTES = 32 * 1024
# What the kernel takes: three weeks and a half.
MOST_MILLISECONDS = 2**31 - 1


class Stall:
    """Watches one connection while its buffer is full.

    Args:
        cut: called when it is broken off.
    """

    def __init__(self, transport: asyncio.Transport, secs: float, cut: Callable[[], None]) -> None:
        self._transport = transport
        self._secs = secs
        self._cut = cut
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0
        self._moved_at = 0.0
        transport.set_write_buffer_limits(high=BUFFER_BYTES)

    def begin(self) -> None:
        """The buffer is full."""
        self._left = self._transport.get_write_buffer_size()
        self._moved_at = asyncio.get_running_loop().time()
        self._look_later()

    def lost(self, error: Exception | None) -> None:
        """The connection is over; by the kernel's word, nobody has acknowledged for too long."""
        self.end()
        if isinstance(error, TimeoutError):
            self._cut()

    def end(self) -> None:
        """There is room in it again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        self.end()
        self._timer = asyncio.get_running_loop().call_later(self._secs / LOOKS, self._look)

    def _look(self) -> None:
        left, now = self._transport.get_write_buffer_size(), asyncio.get_running_loop().time()
        if left < self._left:
            self._left, self._moved_at = left, now
        if now - self._moved_at < self._secs:
            self._look_later()
            return
        peer = self._transport.get_extra_info("peername")
        log.info(
            "cut off the client at %s: it has taken nothing for %g s, and %s bytes wait",
            peer,
            self._secs,
            left,
        )
        self._cut()
        self._transport.abort()


def watched(
    secs: float, cut: Callable[[], None]
) -> tuple[type[HttpToolsProtocol], type[WebSocketsSansIOProtocol]]:
    """uvicorn's protocols, whose connections are cut off when their client takes nothing for so many seconds.

    Args:
        cut: called for each.
    """

    class Http(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore
            super().connection_made(transport)
            self._stall = Stall(transport, secs, cut)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stall.begin()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stall.end()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stall.lost(exc)
            super().connection_lost(exc)

    class WebSocket(WebSocketsSansIOProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self._stall = Stall(self.transport, secs, cut)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stall.begin()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stall.end()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stall.lost(exc)
            super().connection_lost(exc)

    return Http, WebSocket


def bound_unsent(listener: socket.socket, secs: float) -> None:
    """Bound what the kernel keeps for the connections of a listener, and for how long, where it can (Linux).

    Heartbeats fill no buffer. A client whose host has vanished without a word is noticed because nobody acknowledges them: in
    twice `secs` instead of a quarter of an hour.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, min(int(secs * 2000), MOST_MILLISECONDS)
        )
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
