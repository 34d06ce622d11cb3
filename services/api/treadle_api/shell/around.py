"""The API as it is served: the routes, with everything around them that langgraph.json asks for."""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar.types import ASGIApp
from starlette.middleware.cors import CORSMiddleware

from treadle.graphs.http import Cors, Http
from treadle_api.shell.custom import Mine, joined
from treadle_api.shell.inner import Inner
from treadle_api.shell.mount import Mounted


def around(app: Litestar, http: Http, mine: Mine | None, prefix: str) -> ASGIApp:
    """Put the server's routes and the user's app together.

    Args:
        mine: the user's app, if there is one.
        prefix: of all paths; empty for none.
    """
    inner = Inner(app)
    served: Any = inner if mine is None else joined(inner, mine, shadow_meta=http.disable_meta)
    if prefix:
        served = Mounted(served, inner, prefix)
    return with_cors(served, http.cors)


def with_cors(app: Any, cors: Cors | None) -> Any:
    """Let pages of other origins read what an app answers; None: none may."""
    if cors is None:
        return app
    return CORSMiddleware(
        app,
        allow_origins=cors.allow_origins,
        allow_methods=cors.allow_methods,
        allow_headers=cors.allow_headers,
        allow_credentials=cors.allow_credentials,
        allow_origin_regex=cors.allow_origin_regex,
        expose_headers=cors.expose_headers,
        max_age=cors.max_age,
    )
