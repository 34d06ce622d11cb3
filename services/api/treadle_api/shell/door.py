"""What clients meet first: the API, or before it is built an answer that says what it waits for."""

from __future__ import annotations

from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send
from starlette.responses import JSONResponse
from starlette.websockets import WebSocketClose

from treadle.graphs.http import Cors
from treadle.patience import OK
from treadle.readiness import NOT_YET
from treadle_api.errors import RETRY_AFTER_SECS
from treadle_api.open_answers import TRY_AGAIN_LATER
from treadle_api.operations.health import Dependencies
from treadle_api.shell.around import with_cors


class Door:
    """Stands before the API, which is built once Postgres is there.

    Until then `/` says that the process lives, `/ok` what is missing, and everything else that it is too early.

    Args:
        prefix: of all paths; empty for none.
        cors: which pages of other origins may read that it is too early.
        silent: `/ok` does not tell which servers there are.
    """

    def __init__(self, dependencies: Dependencies, prefix: str, cors: Cors | None, *, silent: bool) -> None:
        self._dependencies = dependencies
        self._prefix = prefix
        self._silent = silent
        self._app: ASGIApp = with_cors(self._too_early, cors)

    def open(self, app: ASGIApp) -> None:
        """The API is there: hand everything on from now on."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def _too_early(self, scope: Any, receive: Any, send: Any) -> None:
        path: str = scope["path"].removeprefix(self._prefix)
        if scope["type"] == "websocket":
            answer = WebSocketClose(TRY_AGAIN_LATER)
        elif path in ("", "/"):
            answer = JSONResponse({"ok": True, "services": {}})
        elif path == "/ok":
            answer = self._refusal({"ok": False, "services": await self._services()})
        else:
            answer = self._refusal({"detail": self._detail()})
        await answer(scope, receive, send)

    async def _services(self) -> dict[str, str]:
        return {} if self._silent else await self._dependencies.check()

    def _detail(self) -> str:
        why = self._dependencies.postgres
        told = "" if why in (OK, NOT_YET) or self._silent else f" It waits for Postgres: {why}"
        return f"The API is starting, and takes requests when it is ready; try again.{told}"

    def _refusal(self, body: dict[str, Any]) -> JSONResponse:
        return JSONResponse(body, 503, headers={"retry-after": RETRY_AFTER_SECS})
