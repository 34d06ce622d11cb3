"""The Litestar application: routes, errors, OpenAPI."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from litestar import Litestar, Router
from litestar.di import Provide

from treadle.graphs.http import Http
from treadle_api.access.access import OPEN
from treadle_api.access.gate import Gate, access_of
from treadle_api.answer import Answer
from treadle_api.errors import HANDLERS
from treadle_api.limits import limited
from treadle_api.observe import Observe
from treadle_api.openapi import openapi
from treadle_api.parts import Parts
from treadle_api.providing import given, in_turn
from treadle_api.routes import (
    a2a,
    assistants,
    crons,
    docs,
    mcp,
    protocol,
    runs,
    schemas,
    state,
    stateless,
    store,
    system,
    thread_search,
    thread_streams,
    threads,
)

# Each router and the key of langgraph.json's `http` that takes it away.
ROUTERS: tuple[tuple[Router, str], ...] = (
    (system.router, "disable_meta"),
    (docs.router, "disable_meta"),
    (assistants.router, "disable_assistants"),
    (schemas.router, "disable_assistants"),
    (threads.router, "disable_threads"),
    (thread_search.router, "disable_threads"),
    (thread_streams.router, "disable_threads"),
    (state.router, "disable_threads"),
    (protocol.router, "disable_runs"),
    (runs.router, "disable_runs"),
    (stateless.router, "disable_runs"),
    (crons.router, "disable_runs"),
    (store.router, "disable_store"),
    (mcp.router, "disable_mcp"),
    (a2a.router, "disable_a2a"),
)


def make_app(parts: Parts, http: Http, *, mine: Any | None = None, prefix: str = "") -> Litestar:
    """The routes, on parts that are connected already.

    Args:
        mine: the user's own app, for the description.
        prefix: that all paths lie under, for the description.
    """
    routers = [router for router, switch in ROUTERS if not getattr(http, switch)]
    app = Litestar(
        route_handlers=[*routers, system.bare] if http.disable_meta else routers,
        dependencies={
            **{field.name: given(getattr(parts, field.name)) for field in fields(parts)},
            "access": given(OPEN) if parts.proof is None else Provide(access_of, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        response_class=Answer,
        middleware=[
            Observe(parts.metrics, parts.tracing),
            parts.at_work,
            Gate(parts.proof, parts.limits),
            parts.open_answers,
            parts.request_headers,
        ],
        openapi_config=None
        if http.disable_meta
        else openapi(mine, prefix, None if parts.proof is None else parts.proof.described),
        request_class=limited(parts.limits),
        request_max_body_size=parts.limits.bytes,
        logging_config=None,
    )
    return in_turn(app)
