"""A bound on the answers that one client keeps open: streams, and results that are waited for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from ipaddress import IPv6Network
from typing import Any

from litestar import Request, WebSocket
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from treadle.errors import TooManyStreams
from treadle.telemetry.metrics import Metrics
from treadle_api.errors import AnyRequest, treadle_error

OPEN = "stays_open"
# The `opt` of a route whose answers may stay open for as long as a run lasts.
STAYS_OPEN = {OPEN: True}
# RFC 6455 and IANA: try again later.
TRY_AGAIN_LATER = 1013
# Of the reason in a websocket's closing frame, in bytes.
LONGEST_REASON = 120

AnySocket = WebSocket[Any, Any, Any]

ClientOf = Callable[[Scope], Hashable]


def peer(scope: Scope) -> Hashable:
    """The address of whoever sends a request; of IPv6 its network of 64 bits, all of which one host may have.

    Behind a proxy it is the proxy's, unless uvicorn is told to believe what that says (FORWARDED_ALLOW_IPS).
    """
    host = (scope.get("client") or ("", 0))[0]
    if ":" not in host:
        return host
    return str(IPv6Network((host.partition("%")[0], 64), strict=False))


class PerClient:
    """Counts what each client has.

    Args:
        most: that one may have; 0: no bound.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[Hashable] = Counter()

    def take(self, client: Hashable) -> None:
        """One more for a client, until it is given back.

        Raises:
            TooManyStreams: it has as many as it may.
        """
        if self._most and self._held[client] >= self._most:
            raise TooManyStreams(
                f"This client has {self._most} answers open at this API process already, which is "
                "TREADLE_MAX_STREAMS_PER_CLIENT. Nothing was done; close one, or follow all runs of a thread with one stream."
            )
        self._held[client] += 1

    def give_back(self, client: Hashable) -> None:
        """One less. Of a client that has none nothing is kept."""
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]


class OpenAnswers(ASGIMiddleware):
    """Turns a client away, before anything is done for it, that has too many answers open.

    Args:
        client_of: who a client is; anything that can be a key.
    """

    scopes = (ScopeType.HTTP, ScopeType.WEBSOCKET)

    def __init__(self, most: int, metrics: Metrics, client_of: ClientOf = peer) -> None:
        self._held = PerClient(most)
        self._metrics = metrics
        self._client_of = client_of

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if OPEN not in scope["route_handler"].opt:
            await next_app(scope, receive, send)
            return
        client = self._client_of(scope)
        try:
            self._held.take(client)
        except TooManyStreams as error:
            self._metrics.refused["streams"].inc()
            await _refuse(error, scope, receive, send)
            return
        try:
            await next_app(scope, receive, send)
        finally:
            self._held.give_back(client)


async def _refuse(error: TooManyStreams, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == ScopeType.WEBSOCKET:
        socket: AnySocket = WebSocket(scope, receive, send)
        await socket.accept()  # a browser is not told why it could not connect
        await socket.close(TRY_AGAIN_LATER, str(error)[:LONGEST_REASON])
        return
    request: AnyRequest = Request(scope, receive, send)
    await treadle_error(request, error).to_asgi_response(None, request)(scope, receive, send)
