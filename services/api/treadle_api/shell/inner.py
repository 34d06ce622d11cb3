"""The server's own routes, as an app that others can stand around."""

from __future__ import annotations

from typing import Any, cast

from litestar import Litestar
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.types import Receive, Scope, Send
from litestar.utils import normalize_path

from treadle_api.responses import ONLY_HEADERS

# Where a gate outside of the user's app leaves what the sender of a request may do.
ADMITTED = "treadle.access"
# What a server gives to an app. What an app around us wrote into the scope is none of our framework's business.
GIVEN = frozenset(
    {
        "type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "headers",
        "client", "server", "subprotocols", "extensions",
    }
)  # fmt: skip


class Inner:
    """Hands requests to the routes: below the mount, with a scope of their own, and HEAD as GET without a body."""

    def __init__(self, app: Litestar) -> None:
        self._app = app

    def serves(self, path: str, method: str | None) -> bool:
        """Whether a path (below the mount) has a route; HEAD counts as GET, and None stands for a websocket."""
        known = "GET" if method == "HEAD" else method
        try:
            self._app.asgi_router.handle_routing(path=normalize_path(path), method=cast(Any, known))
        except (NotFoundException, MethodNotAllowedException):
            return False
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        own: dict[str, Any] = {name: value for name, value in scope.items() if name in GIVEN}
        if ADMITTED in scope:
            own[ADMITTED] = cast(Any, scope)[ADMITTED]
        own |= {"path": below(scope), "root_path": "", "state": {}}
        if own.get("method") == "HEAD" and self.serves(own["path"], "HEAD"):
            own |= {"method": "GET", ONLY_HEADERS: True}
        await self._app(cast(Any, own), receive, send)


def below(scope: Any) -> str:
    """The path without the mount."""
    path, root = cast(str, scope["path"]), cast(str, scope.get("root_path", ""))
    return path.removeprefix(root) or "/"
