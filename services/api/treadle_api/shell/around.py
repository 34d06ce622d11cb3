"""The API as it is served: the routes, with everything around them that langgraph.json asks for."""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import Litestar
from litestar.types import ASGIApp
from starlette.middleware.cors import CORSMiddleware

from treadle.graphs.http import Cors, Http
from treadle.wire.limits import BodyLimits
from treadle_api.access.outside import OutsideGate
from treadle_api.access.proof import Proof
from treadle_api.shell.custom import Gating, Mine, joined
from treadle_api.shell.inner import Inner
from treadle_api.shell.mount import Mounted


def around(
    app: Litestar, http: Http, mine: Mine | None, prefix: str, proof: Proof | None, limits: BodyLimits
) -> ASGIApp:
    """Put the server's routes and the user's app together.

    Args:
        mine: the user's app, if there is one.
        prefix: of all paths; empty for none.
        proof: how whoever asks has to prove who it is; None: nobody has to.
        limits: of bodies.
    """
    inner = Inner(app)
    served: Any = inner if mine is None else _with(mine, inner, http, proof, limits)
    if prefix:
        served = Mounted(served, inner, prefix)
    return with_cors(served, http.cors)


def _with(mine: Mine, inner: Inner, http: Http, proof: Proof | None, limits: BodyLimits) -> ASGIApp:
    """The user's app around the server's routes, with the gate where langgraph.json wants it: before the app's own middleware or
    behind it, and before the app's own routes or not.
    """
    first, theirs = http.middleware_order == "auth_first", http.enable_custom_route_auth
    gate: Gating | None = None
    if proof is not None and (first or theirs):
        covers = _everything if theirs else inner.serves
        gate = partial(OutsideGate, proof=proof, limits=limits, covers=covers)
    served = joined(inner, mine, shadow_meta=http.disable_meta, gate=None if first else gate)
    return gate(served) if gate is not None and first else served


def _everything(path: str, method: str | None) -> bool:
    return True


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
