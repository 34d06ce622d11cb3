"""The gate: nothing but what says that the server lives is answered before it is known who asks."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, cast

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from treadle.errors import TreadleError
from treadle.wire.limits import BodyLimits
from treadle_api.access.access import OPEN, Access
from treadle_api.access.proof import Proof
from treadle_api.open_answers import peer
from treadle_api.replay import Replay
from treadle_api.shell.inner import ADMITTED

# What says that the server is there and what it can do, and nothing of anybody.
PUBLIC = frozenset({"/", "/ok", "/info", "/metrics", "/docs", "/openapi.json"})
ACCESS = "access"
# As the protocol's clients read it: 4000 and a status of HTTP.
WEBSOCKET_STATUS = 4000


class Gate(ASGIMiddleware):
    """Finds out who sends each request, and keeps it with the request.

    Args:
        proof: how; None: nobody has to say.
        limits: of a body, where it has to be read to find out.
    """

    scopes = (ScopeType.HTTP, ScopeType.WEBSOCKET)

    def __init__(self, proof: Proof | None, limits: BodyLimits) -> None:
        self._proof = proof
        self._limits = limits

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        given = cast(Any, scope)
        if self._proof is None or given["path_template"] in PUBLIC:
            given["state"][ACCESS] = OPEN
            await next_app(scope, receive, send)
            return
        try:
            access, received = given.get(ADMITTED), receive
            if access is None:
                access, received = await entered(self._proof, self._limits, scope, receive)
        except TreadleError as error:
            if scope["type"] == "http":
                raise
            await close_socket(error, scope, receive, send)
            return
        given["state"][ACCESS] = access
        await next_app(scope, received, send)


async def entered(proof: Proof, limits: BodyLimits, scope: Scope, receive: Receive) -> tuple[Access, Receive]:
    """What the sender of a request may do, and the request's body from its beginning.

    Raises:
        Unauthorized, Refused: it does not prove who it is.
        TooLarge: its body, which has to be read for that, is.
    """
    if not proof.reads_body or scope["type"] != "http":
        return await proof.access(scope, receive, b""), receive
    body = await _body(receive, limits)
    return await proof.access(scope, receive, body), cast(Receive, Replay(body, receive))


async def close_socket(error: TreadleError, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a websocket."""
    close = WebSocketClose(WEBSOCKET_STATUS + error.status, str(error)[:100])
    await close(cast(Any, scope), cast(Any, receive), cast(Any, send))


async def _body(receive: Receive, limits: BodyLimits) -> bytes:
    """Raises TooLarge."""
    body = bytearray()
    while True:
        message = cast("dict[str, Any]", await receive())
        body += message.get("body", b"")
        if len(body) > limits.bytes:
            raise limits.too_large()
        if not message.get("more_body"):
            return bytes(body)


def client_of(scope: Scope) -> Hashable:
    """Whose answers are counted together: those of a user, or of an address where nobody has to say who asks."""
    caller = access_of(scope).caller
    return (caller.tenant, caller.identity) if caller.identity else peer(scope)


def access_of(scope: Scope) -> Access:
    """What the sender of a request may do, for the route that answers it."""
    return cast(Access, cast(Any, scope)["state"][ACCESS])
