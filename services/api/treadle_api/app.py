"""The Litestar application: routes, errors, OpenAPI."""

from __future__ import annotations

from dataclasses import fields

from litestar import Litestar
from litestar.di import Provide

from treadle_api.errors import HANDLERS
from treadle_api.limits import MAX_BODY_BYTES
from treadle_api.observe import Observe
from treadle_api.openapi import OPENAPI
from treadle_api.parts import Parts
from treadle_api.routes import (
    assistants,
    docs,
    mcp,
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


def make_app(parts: Parts) -> Litestar:
    """The ASGI application on parts that are connected already."""
    return Litestar(
        route_handlers=[
            module.router
            for module in (
                system,
                assistants,
                schemas,
                threads,
                thread_search,
                thread_streams,
                state,
                runs,
                stateless,
                store,
                mcp,
                docs,
            )
        ],
        dependencies={field.name: _given(getattr(parts, field.name)) for field in fields(parts)},
        exception_handlers=HANDLERS,
        middleware=[Observe(parts.metrics, parts.tracing)],
        openapi_config=OPENAPI,
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )


def _given(part: object) -> Provide:
    return Provide(lambda: part, use_cache=True, sync_to_thread=False)
