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
        http = cast(HTTPScope, scope)
        started = time.perf_counter()
        route, method = http["path_template"], http["method"]
        parent = self._tracing.extract(self._headers(http))
        with self._tracing.span(*conventions.request(method, route, http["path"]), parent=parent) as span:

            async def observed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    self._metrics.observe_request(route, method, status, time.perf_counter() - started)
                    span.set_attributes(conventions.response(status))
                await send(message)

            await next_app(scope, receive, observed)

    def _headers(self, scope: HTTPScope) -> dict[str, str]:
        if not self._tracing.enabled:
            return {}
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
