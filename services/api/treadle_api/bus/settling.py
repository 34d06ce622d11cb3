"""What becomes of one durable request: a run, a dead letter, or another attempt later.

A message is acknowledged after its run is committed, or its dead letter stored, and not before.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable

import asyncpg
from nats.aio.msg import Msg
from nats.js.errors import NoStreamResponseError
from opentelemetry.context import Context

from treadle.db.runs import RequestKey
from treadle.errors import TreadleError, Unavailable
from treadle.escaping import token_of
from treadle.identity import Identity, IdentityVerifier
from treadle.messaging.connection import NATS_ERRORS
from treadle.messaging.dead_letters import DeadLetters, Refusal
from treadle.messaging.requests import DurableRequest, received
from treadle.messaging.subjects import REQUESTS_CONSUMER
from treadle.telemetry import conventions
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle_api.access.access import access_for
from treadle_api.access.rules import Rules
from treadle_api.bus.acceptance import Acceptance, Accepted
from treadle_api.shell.headers import RequestHeaders, as_http

log = logging.getLogger(__name__)

FIRST_DELAY_SECS = 0.25
LONGEST_DELAY_SECS = 30.0
# A defect of ours may be gone at the next attempt, or in the next process. After this many it is not.
MOST_DELIVERIES = 5


class Settling:
    """Settles requests, one at a time or many.

    Args:
        keep_secs: how long dead letters are kept.
    """

    def __init__(
        self,
        dead_letters: DeadLetters,
        acceptance: Acceptance,
        verifier: IdentityVerifier,
        rules: Rules | None,
        request_headers: RequestHeaders,
        metrics: Metrics,
        tracing: Tracing,
        *,
        replicas: int,
        keep_secs: float,
    ) -> None:
        self._dead_letters = dead_letters
        self._acceptance = acceptance
        self._verifier = verifier
        self._rules = rules
        self._request_headers = request_headers
        self._metrics = metrics
        self._tracing = tracing
        self._replicas = replicas
        self._keep_secs = keep_secs

    async def ensure(self) -> None:
        """Make the stream of dead letters, or bring its settings up to date. Raises what NATS being away does."""
        await self._dead_letters.ensure(self._replicas, self._keep_secs)

    async def settle(self, message: Msg) -> bool:
        """Make a run of a request, or a dead letter, or let it wait; False: Postgres is away, and so must the others."""
        request = received(message)
        try:
            accepted = await self._accept(request)
        except Unavailable as error:
            await self._postpone(message, request, error)
            return False
        except TreadleError as error:
            await self._refuse(message, request, _refusal(error))
        except asyncpg.QueryCanceledError as error:  # by a `statement_timeout`: Postgres is there, and slow
            await self._postpone(message, request, error)
        except Exception as error:
            log.error("request %s of %s failed", request.message_id, request.source, exc_info=error)
            await self._despair(message, request, error)
        else:
            self._metrics.durable_requests["accepted" if accepted.new else "repeated"].inc()
            await answer(message.ack())
        return True

    async def _accept(self, request: DurableRequest) -> Accepted:
        """In the trace of whoever published it."""
        spec = conventions.receive(request.subject, REQUESTS_CONSUMER)
        with self._tracing.span(*spec, parent=self._sender(request)) as span:
            request.check()
            identity = self._verifier.verify(
                request.headers, request.subject, request.body, request.stored_at
            )
            with self._request_headers.heard(as_http(request.headers)):
                accepted = await self._acceptance.accept(
                    access_for(identity, self._rules),
                    request.body,
                    RequestKey(_source(request.source, identity), request.message_id),
                )
            span.set_attributes(conventions.accepted(accepted.thread_id, accepted.run_id))
            return accepted

    def _sender(self, request: DurableRequest) -> Context | None:
        if not self._tracing.enabled:
            return None
        return self._tracing.extract({name.lower(): value for name, value in request.headers.items()})

    async def _postpone(self, message: Msg, request: DurableRequest, error: Exception) -> None:
        """It waits in NATS, for as long as it takes."""
        log.warning("request %s of %s has to wait: %s", request.message_id, request.source, error)
        self._metrics.durable_requests["postponed"].inc()
        delay_secs = FIRST_DELAY_SECS * 2 ** min(request.deliveries - 1, 10)
        await answer(message.nak(delay=min(delay_secs, LONGEST_DELAY_SECS)))

    async def _despair(self, message: Msg, request: DurableRequest, error: Exception) -> None:
        """A defect of ours: the request is tried again a few times."""
        if request.deliveries < MOST_DELIVERIES:
            await self._postpone(message, request, error)
            return
        reason = f"It failed {request.deliveries} times, at last with {type(error).__name__}: {error}"
        await self._refuse(message, request, Refusal(500, "InternalServerError", reason))

    async def _refuse(self, message: Msg, request: DurableRequest, refusal: Refusal) -> None:
        log.warning(
            "request %s of %s is a dead letter: %s", request.message_id, request.source, refusal.reason
        )
        try:
            await self._keep(request, refusal)
        except NATS_ERRORS as error:
            await self._postpone(message, request, error)
            return
        self._metrics.durable_requests["refused"].inc()
        self._metrics.dead_letters.inc()
        await answer(message.term())

    async def _keep(self, request: DurableRequest, refusal: Refusal) -> None:
        try:
            await self._dead_letters.write(request, refusal)
        except NoStreamResponseError:
            await self.ensure()
            await self._dead_letters.write(request, refusal)


async def answer(given: Awaitable[None]) -> None:
    """Answer NATS; an answer that is lost only makes the message come again."""
    try:
        await given
    except NATS_ERRORS as error:
        log.debug("answer to a request lost: %r", error)


def _source(source: str, identity: Identity | None) -> str:
    """Where the name of a request belongs: to whoever publishes there, and for tenants to each of its own."""
    return source if identity is None or identity.tenant is None else f"{source}@{token_of(identity.tenant)}"


def _refusal(error: TreadleError) -> Refusal:
    return Refusal(error.status, type(error).__name__, str(error))
