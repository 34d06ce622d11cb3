"""Turns durable requests into runs, each name once; what cannot be a run becomes a dead letter.

A message is acknowledged after its run is committed, or its dead letter stored, and not before: whatever dies in between,
it comes again, and then the request's row answers. While Postgres is away messages wait in NATS.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

import asyncpg
from nats.aio.msg import Msg
from nats.js.errors import NoStreamResponseError
from opentelemetry.context import Context

from treadle.db.pool import postgres_errors
from treadle.db.runs import RequestKey, Runs
from treadle.errors import TreadleError, Unavailable
from treadle.identity import IdentityVerifier
from treadle.messaging.connection import NATS_ERRORS, Nats
from treadle.messaging.dead_letters import DeadLetters, Refusal
from treadle.messaging.pulling import pulling
from treadle.messaging.requests import DurableRequest, ensure_requests, received
from treadle.messaging.subjects import REQUESTS_CONSUMER, REQUESTS_STREAM
from treadle.patience import patiently
from treadle.telemetry import conventions
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle_api.bus.acceptance import Acceptance, Accepted
from treadle_api.shell.headers import RequestHeaders, as_http

log = logging.getLogger(__name__)

# What may be in memory at the same time.
BATCH_BYTES = 64 * 1024 * 1024
AWAY_SECS = 0.5
FIRST_DELAY_SECS = 0.25
LONGEST_DELAY_SECS = 30.0
# A defect of ours may be gone at the next attempt, or in the next process. After this many it is not.
MOST_DELIVERIES = 5
# What Postgres refuses now and may take later: no room, a failover, a deadlock.
PASSING = (
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
)


class DurableRequests:
    """Reads the stream of requests, together with all other API processes.

    Args:
        at_once: requests that are made runs at the same time; fewer than there are connections to Postgres.
    """

    def __init__(
        self,
        nats: Nats,
        runs: Runs,
        acceptance: Acceptance,
        verifier: IdentityVerifier,
        request_headers: RequestHeaders,
        metrics: Metrics,
        tracing: Tracing,
        *,
        at_once: int,
        replicas: int,
        keep_secs: float,
    ) -> None:
        self._nats = nats
        self._acceptance = acceptance
        self._verifier = verifier
        self._request_headers = request_headers
        self._metrics = metrics
        self._tracing = tracing
        self._runs = runs
        self._at_once = at_once
        self._replicas = replicas
        self._keep_secs = keep_secs
        self._dead_letters = DeadLetters(nats.client)
        self._waiting: asyncio.Queue[Msg] = asyncio.Queue(maxsize=at_once)
        self._postgres_is_away = False
        # Told besides the cancellation: `asyncio.wait_for`, which the clients use, may swallow one in Python 3.11.
        self._stopping = False

    async def run(self) -> None:
        """Until cancelled; then what was delivered and is not done goes to another process."""
        await self._nats.opened()
        try:
            async with asyncio.TaskGroup() as tasks:
                pulling = tasks.create_task(self._pull_for_ever(), name="requests-pull")
                for number in range(self._at_once):
                    tasks.create_task(self._work(), name=f"request-{number}")
                try:
                    await asyncio.wait({pulling})
                finally:
                    self._stopping = True
        finally:
            while not self._waiting.empty():
                await self._answer(self._waiting.get_nowait().nak())

    async def _pull_for_ever(self) -> None:
        """NATS may go and come back, with or without what it had."""
        while not self._stopping:
            try:
                await self._ensure()
                await self._pull()
            except NATS_ERRORS as error:
                log.debug("no request could be pulled: %r", error)
                await asyncio.sleep(AWAY_SECS)

    async def _ensure(self) -> None:
        client = self._nats.client
        await self._dead_letters.ensure(self._replicas, self._keep_secs)
        await ensure_requests(client.jetstream(), self._replicas, client.max_payload)

    async def _pull(self) -> None:
        client = self._nats.client
        # What waits here is nobody else's, and is not to wait until it is delivered again.
        most = max(1, min(self._at_once, BATCH_BYTES // client.max_payload))
        async with pulling(client, REQUESTS_STREAM, REQUESTS_CONSUMER) as pull:
            while not self._stopping:
                await self._until_postgres_is_there()
                async for message in pull.batch(most):
                    await self._hand_over(message)

    async def _hand_over(self, message: Msg) -> None:
        try:
            await self._waiting.put(message)
        except asyncio.CancelledError:
            await self._answer(message.nak())
            raise

    async def _until_postgres_is_there(self) -> None:
        if self._postgres_is_away:
            await patiently("Postgres", self._look_for_postgres)
            self._postgres_is_away = False

    async def _look_for_postgres(self) -> None:
        try:
            with postgres_errors("looking whether it is back"):
                await self._runs.clock()
        except asyncpg.PostgresError as error:
            raise Unavailable(f"Postgres answers with {type(error).__name__}: {error}") from error

    async def _work(self) -> None:
        while not self._stopping:
            message = await self._waiting.get()
            try:
                await self._settle(message, received(message))
            except asyncio.CancelledError:
                await self._answer(message.nak())
                raise

    async def _settle(self, message: Msg, request: DurableRequest) -> None:
        try:
            accepted = await self._accept(request)
        except Unavailable as error:
            self._postgres_is_away = True
            await self._postpone(message, request, error)
        except TreadleError as error:
            await self._refuse(message, request, _refusal(error))
        except PASSING as error:
            await self._postpone(message, request, error)
        except Exception as error:
            log.error("request %s of %s failed", request.message_id, request.source, exc_info=error)
            await self._despair(message, request, error)
        else:
            self._metrics.durable_requests["accepted" if accepted.new else "repeated"].inc()
            await self._answer(message.ack())

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
                    request.body, RequestKey(request.source, request.message_id), identity
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
        await self._answer(message.nak(delay=min(delay_secs, LONGEST_DELAY_SECS)))

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
        await self._answer(message.term())

    async def _keep(self, request: DurableRequest, refusal: Refusal) -> None:
        try:
            await self._dead_letters.write(request, refusal)
        except NoStreamResponseError:
            await self._dead_letters.ensure(self._replicas, self._keep_secs)
            await self._dead_letters.write(request, refusal)

    async def _answer(self, answer: Awaitable[None]) -> None:
        """An answer that is lost only makes the message come again."""
        try:
            await answer
        except NATS_ERRORS as error:
            log.debug("answer to a request lost: %r", error)


def _refusal(error: TreadleError) -> Refusal:
    return Refusal(error.status, type(error).__name__, str(error))
