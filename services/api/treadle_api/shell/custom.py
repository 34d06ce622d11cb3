"""The user's own ASGI app and the server's routes as one."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from litestar.types import ASGIApp, Receive, Scope, Send
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match

from treadle.errors import ConfigError
from treadle.graphs.config import Config
from treadle.graphs.loader import named
from treadle_api.shell.inner import Inner, below
from treadle_api.shell.lifespan import living

log = logging.getLogger(__name__)

# Whether the server is up, and what it is, is for the server to say.
META = frozenset({"/ok", "/info", "/metrics", "/docs", "/openapi.json"})


@dataclass(frozen=True)
class Mine:
    """The user's app once it has started, and the state that its lifespan left for requests."""

    app: Any
    state: Mapping[str, Any]


@asynccontextmanager
async def started(config: Config, path: str) -> AsyncGenerator[Mine]:
    """Import the user's app, and keep its lifespan going for as long as the block lasts.

    Raises:
        ConfigError: it is not there, is no app, or fails.
    """
    where = f"{config.path}: `http.app` ({path})"
    app = named(config, path, where)
    if not callable(app):
        raise ConfigError(
            f"{where} is a {type(app).__name__}: it must be an ASGI app, such as `Starlette()` or `FastAPI()`."
        )
    async with living(app, where) as state:
        yield Mine(app, state)


# Puts a gate before an app.
Gating = Callable[[ASGIApp], ASGIApp]


def joined(inner: Inner, mine: Mine, *, shadow_meta: bool, gate: Gating | None) -> ASGIApp:
    """One app of both.

    The routes of a Starlette app (FastAPI's are such) come before the server's, and its middleware is around them
    all. Of any other app nobody knows whether it has a route: it gets what the server has none for.

    Args:
        shadow_meta: whether a route of the user's may stand in for one of META.
        gate: stands before the routes, behind the app's middleware; None: none does.
    """
    app = mine.app
    if isinstance(app, Starlette):
        routes = app.router.routes
        if not shadow_meta:
            routes.insert(0, _Server(inner, lambda path: path in META))
        routes.append(_Server(inner, lambda _: True))
        if gate is not None:
            # Its own middleware has been put together by now, with its lifespan.
            app.router.middleware_stack = cast(Any, gate(cast(ASGIApp, app.router.middleware_stack)))
    else:
        app = _Either(inner, app if gate is None else gate(app))
    return Guarded(cast(ASGIApp, app), mine.state)


class Guarded:
    """Gives each request the state of the lifespan, and keeps a crash of the user's code to its own request.

    Frameworks raise what went wrong even after they have answered for it; a server that sees that closes the
    connection under the client's next request.
    """

    def __init__(self, app: ASGIApp, state: Mapping[str, Any]) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        own = cast(Scope, {**scope, "state": dict(self._state)})
        begun = ended = False

        async def sent(message: Any) -> None:
            nonlocal begun, ended
            begun, ended = True, message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        try:
            await self._app(own, receive, sent)
        except Exception:
            if scope["type"] != "http" or (begun and not ended):
                raise
            log.exception("the app of langgraph.json failed at %s", scope["path"])
            if not begun:
                answer = JSONResponse({"detail": "Internal server error; the server's log says more."}, 500)
                await answer(cast(Any, scope), cast(Any, receive), cast(Any, send))


class _Server(BaseRoute):
    """The server's routes, in the list of an app's own."""

    def __init__(self, inner: Inner, wanted: Callable[[str], bool]) -> None:
        self._inner = inner
        self._wanted = wanted

    def matches(self, scope: Any) -> tuple[Match, Any]:
        """Only what there is a route for: whatever else the app answers in its own way."""
        path = below(scope)
        served = self._wanted(path) and self._inner.serves(path, scope.get("method"))
        return (Match.FULL if served else Match.NONE), {}

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        await self._inner(scope, receive, send)


class _Either:
    """The server where it has a route, the user's app where not."""

    def __init__(self, inner: Inner, mine: ASGIApp) -> None:
        self._inner = inner
        self._mine = mine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        served = self._inner.serves(below(scope), cast("str | None", scope.get("method")))
        await (self._inner if served else self._mine)(scope, receive, send)
