"""The endpoint: when the protocol's server starts, and in which of two forms a request is answered."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any, NamedTuple, cast

import msgspec
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from treadle.wire.limits import BodyLimits
from treadle_api.mcp.answers import Answers
from treadle_api.mcp.origins import Origins
from treadle_api.replay import Replay
from treadle_api.waiting import answered_in_time

SERVER = "treadle_api.mcp.server"
# The revisions that begin with `initialize`. Later ones answer in the form that fits, by themselves.
WITH_HANDSHAKE = frozenset({b"2024-11-05", b"2025-03-26", b"2025-06-18", b"2025-11-25"})
VERSION_HEADER = b"mcp-protocol-version"


class Transports(NamedTuple):
    """The same server behind both forms in which a POST may be answered."""

    json: ASGIApp
    events: ASGIApp


class McpEndpoint:
    """Answers the protocol's messages. Its server starts with the first of them."""

    def __init__(self, answers: Answers, origins: Origins, limits: BodyLimits, heartbeat_secs: float) -> None:
        self._answers = answers
        self._origins = origins
        self._limits = limits
        self._heartbeat_secs = heartbeat_secs
        self._wanted = asyncio.Event()
        self._transports: asyncio.Future[Transports] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Until cancelled: owns the protocol's server, which has tasks of its own."""
        await self._wanted.wait()
        server = await asyncio.to_thread(import_module, SERVER)
        async with server.transports(self._answers, self._limits.bytes) as transports:
            self._transports.set_result(transports)
            await asyncio.Event().wait()

    def answer(self, body: bytes, origin: str | None) -> ASGIApp:
        """The answer to one POST.

        Raises:
            Forbidden: it comes from a web page that may not use this.
            InvalidRequest: it is too deep, or holds too much.
        """
        self._origins.check(origin)
        self._limits.check_unread(body)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            self._wanted.set()
            transports = await asyncio.shield(self._transports)
            replay = Replay(body, receive)
            if _in_events(cast(HTTPScope, scope), body):
                await transports.events(scope, replay, send)
            else:
                await answered_in_time(transports.json, scope, replay, send, self._heartbeat_secs)

        return app


class _Meta(msgspec.Struct):
    progress: Any = msgspec.field(name="progressToken", default=None)


class _Params(msgspec.Struct):
    meta: _Meta | None = msgspec.field(name="_meta", default=None)


class _Call(msgspec.Struct):
    """As much of a message as says whether its sender wants to hear of progress."""

    params: _Params | None = None


def _in_events(scope: HTTPScope, body: bytes) -> bool:
    """Whether to answer with events: only they can tell of progress. Plain JSON is easier for everybody else."""
    headers = dict(scope["headers"])
    if b"text/event-stream" not in headers.get(b"accept", b""):
        return False
    if headers.get(VERSION_HEADER, b"2025-03-26") not in WITH_HANDSHAKE:
        return True
    try:
        call = msgspec.json.decode(body, type=_Call)
    except msgspec.DecodeError:
        return False
    return call.params is not None and call.params.meta is not None and call.params.meta.progress is not None
