"""The gate before the routes of the user's own app, where langgraph.json wants one there (`http.enable_custom_route_auth`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send
from starlette.authentication import AuthCredentials
from starlette.responses import JSONResponse

from treadle.errors import TreadleError
from treadle.identity import User
from treadle.wire.limits import BodyLimits
from treadle_api.access.access import Access
from treadle_api.access.gate import PUBLIC, close_socket, entered
from treadle_api.access.proof import Proof
from treadle_api.errors import headers_of
from treadle_api.shell.inner import ADMITTED, below

Covers = Callable[[str, "str | None"], bool]


class OutsideGate:
    """Finds out who sends a request before the user's app sees it; the app reads that as `request.user`.

    Args:
        covers: whether it stands before a path and a method; never before what is public.
    """

    def __init__(self, app: ASGIApp, proof: Proof, limits: BodyLimits, covers: Covers) -> None:
        self._app = app
        self._proof = proof
        self._limits = limits
        self._covers = covers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket") or not self._stands_before(scope):
            await self._app(scope, receive, send)
            return
        try:
            access, received = await entered(self._proof, self._limits, scope, receive)
        except TreadleError as error:
            await _refuse(error, scope, receive, send)
            return
        await self._app(_known(scope, access), received, send)

    def _stands_before(self, scope: Any) -> bool:
        path = below(scope)
        return path not in PUBLIC and self._covers(path, scope.get("method"))


def _known(scope: Scope, access: Access) -> Scope:
    """The request, with its sender as Starlette has users."""
    user = User(access.user or {})
    known: Any = {**scope, ADMITTED: access, "user": user, "auth": AuthCredentials(list(user.permissions))}
    return known


async def _refuse(error: TreadleError, scope: Any, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await close_socket(error, scope, receive, send)
        return
    answer: Any = JSONResponse({"detail": str(error)}, error.status, headers=headers_of(error))
    await answer(scope, receive, send)
