"""All routes below one prefix, for proxies that hand on the whole path."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse
from starlette.websockets import WebSocketClose

# Probes and scrapers talk to the process, past the proxy: these stay where they are, too.
UNMOVED = frozenset({"/", "/ok", "/metrics"})


class Mounted:
    """Serves an app below a prefix, which it tells it as `root_path`.

    Args:
        app: what lies below the prefix.
        outside: answers at the paths of UNMOVED.
        prefix: begins with a slash and does not end with one.
    """

    def __init__(self, app: Any, outside: Any, prefix: str) -> None:
        self._app = app
        self._outside = outside
        self._prefix = prefix

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path: str = scope["path"]
        if path == self._prefix or path.startswith(f"{self._prefix}/"):
            await self._app({**scope, "root_path": self._prefix}, receive, send)
        elif path in UNMOVED:
            await self._outside(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)
