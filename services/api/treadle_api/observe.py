"""Each request as a span and as a number in the histograms."""

from __future__ import annotations

import time
from typing import cast

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from treadle.telemetry import conventions
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing


class Observe(ASGIMiddleware):
    """Measures until the answer begins: how long a stream lives is its run's affair."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, metrics: Metrics, tracing: Tracing) -> None:
        self._metrics = metrics
        self._tracing = tracing

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if self._tracing.enabled:
            await self._traced(cast(HTTPScope, scope), receive, send, next_app)
        else:
            await next_app(scope, receive, self._measured(cast(HTTPScope, scope), send))

    async def _traced(self, scope: HTTPScope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        spec = conventions.request(scope["method"], scope["path_template"], scope["path"])
        with self._tracing.span(*spec, parent=self._tracing.extract(_headers(scope))) as span:

            async def observed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attributes(conventions.response(message["status"]))
                await send(message)

            await next_app(scope, receive, self._measured(scope, observed))

    def _measured(self, scope: HTTPScope, send: Send) -> Send:
        started = time.perf_counter()
        route, method = scope["path_template"], scope["method"]

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.observe_request(route, method, message["status"], time.perf_counter() - started)
            await send(message)

        return measured


def _headers(scope: HTTPScope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
