"""A bound on what the process is at work on, so that a rush makes neither its memory nor its answers grow without end."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Scope, Send

from treadle.errors import Overloaded, TooSlow
from treadle.telemetry.metrics import Metrics
from treadle_api.errors import AnyRequest, treadle_error

log = logging.getLogger(__name__)

# Who asks whether the process lives must not hear that it does not because it has much to do.
ALWAYS = frozenset({"/", "/ok", "/info", "/metrics"})
# A request has its place from its headers on; a client that vanished in the middle of its body would keep it for ever.
BODY_SECS = 30.0


class AtWork(ASGIMiddleware):
    """Turns requests away, before their bodies are read, while too many wait for the beginning of their answers.

    What is open for as long as a run lasts (a stream, a `wait`, a `join`) is answered once it has begun, and not counted any more.

    Args:
        most: requests that may be in work at the same time.
        body_secs: for how long the next piece of a body is waited for; then the answer is 408.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, most: int, metrics: Metrics, body_secs: float = BODY_SECS) -> None:
        self._most = most
        self._metrics = metrics
        self._body_secs = body_secs
        self._count = 0
        self._refusing = False

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if cast(HTTPScope, scope)["path_template"] in ALWAYS:
            await next_app(scope, receive, send)
        elif self._count >= self._most:
            await self._refuse(scope, receive, send)
        else:
            await self._work(scope, receive, send, next_app)

    async def _work(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        self._count += 1
        waiting = True

        def answered() -> None:
            nonlocal waiting
            self._count -= waiting
            waiting = False
            self._refusing = self._refusing and self._count > self._most // 2

        async def answer(message: Message) -> None:
            if waiting:
                answered()
            await send(message)

        try:
            await next_app(scope, _Body(receive, self._body_secs).next, answer)
        finally:
            answered()

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._refusing:
            log.warning(
                "at work on %s requests: more are turned away (TREADLE_HTTP_MAX_REQUESTS)", self._most
            )
        self._refusing = True
        self._metrics.refused["requests"].inc()
        request: AnyRequest = Request(scope, receive, send)
        refusal = treadle_error(
            request,
            Overloaded(
                f"This API process is at work on {self._most} requests already, which is TREADLE_HTTP_MAX_REQUESTS. Nothing "
                "was done; ask again in a moment, or start more API processes."
            ),
        )
        await refusal.to_asgi_response(None, request)(scope, receive, send)


class _Body:
    """The body of a request, as long as it does not come; after it comes only word that the client has left."""

    def __init__(self, receive: Receive, secs: float) -> None:
        self._receive = receive
        self._secs = secs
        self._complete = False

    async def next(self) -> HTTPReceiveMessage:
        """The next piece. Raises TooSlow: it did not come in time."""
        if self._complete:
            return await self._message()
        try:
            async with asyncio.timeout(self._secs):
                message = await self._message()
        except TimeoutError as error:
            raise TooSlow(
                f"The body of the request was not complete, and nothing more came for {self._secs:g} s. Nothing was done; "
                "send it again."
            ) from error
        self._complete = message["type"] == "http.disconnect" or not message["more_body"]
        return message

    async def _message(self) -> HTTPReceiveMessage:
        return cast(HTTPReceiveMessage, await self._receive())
