"""Around every handler: its errors as problems, its span, its time, its limits."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

from msgspec import UNSET, UnsetType
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.micro.service import DEFAULT_QUEUE_GROUP

from treadle import json
from treadle.errors import Overloaded, TooLarge, TreadleError
from treadle.identity import IdentityVerifier
from treadle.telemetry import conventions
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle.wire.direct import Problem
from treadle.wire.limits import BodyLimits
from treadle_api.access.rules import Rules
from treadle_api.bus.call import Call
from treadle_api.bus.micro import Handler, Reply
from treadle_api.shell.headers import RequestHeaders, as_http

log = logging.getLogger(__name__)

# The server counts an answer's headers too.
ROOM_FOR_HEADERS = 2048
# What a client sent, and is told of again, may be as long as a message may.
LONGEST_DETAIL = 10_000

Operation = Callable[[Call], Awaitable[bytes]]


class Answering:
    """Makes the framework's handlers of operations.

    Args:
        most: requests that may be in work at the same time.
        limits: of what their bodies hold.
    """

    def __init__(
        self,
        client: Client,
        metrics: Metrics,
        tracing: Tracing,
        request_headers: RequestHeaders,
        verifier: IdentityVerifier,
        rules: Rules | None,
        most: int,
        limits: BodyLimits,
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._tracing = tracing
        self._request_headers = request_headers
        self._verifier = verifier
        self._rules = rules
        self._most = most
        self._limits = limits
        self._in_work = 0

    def handler(self, name: str, operation: Operation) -> Handler:
        """What answers on an endpoint."""

        async def answer(message: Msg) -> Reply:
            began, headers = time.perf_counter(), message.headers or {}
            parent = self._tracing.extract({key.lower(): value for key, value in headers.items()})
            spec = conventions.direct(message.subject, DEFAULT_QUEUE_GROUP)
            with self._tracing.span(*spec, parent=parent) as span:
                with self._request_headers.heard(as_http(headers)):
                    reply = await self._reply(name, operation, Call(message, self._limits))
                span.set_attributes(conventions.answer(reply.code))
            self._metrics.direct_requests.labels(name, reply.code).observe(time.perf_counter() - began)
            return reply

        return answer

    async def _reply(self, name: str, operation: Operation, call: Call) -> Reply:
        self._in_work += 1
        try:
            if self._in_work > self._most:
                self._metrics.refused["requests"].inc()
                raise Overloaded(
                    f"This API process is at work on {self._most} requests over NATS already, which is "
                    "TREADLE_NATS_MAX_REQUESTS: ask again in a moment, or start more API processes."
                )
            call.prove(self._verifier, self._rules)
            data = await operation(call)
            self._check_size(name, data, call)
            return Reply(data, _headers(call))
        except TreadleError as error:
            if error.status >= 500 and not isinstance(error, Overloaded):
                log.warning("%s over NATS: %s", name, error)
            return _problem(error.status, _name(error), str(error), call, error.retry_after_secs)
        except Exception as error:
            log.error("%s over NATS failed", name, exc_info=error)
            text = "Internal server error; the server's log says more."
            return _problem(500, "InternalServerError", text, call)
        finally:
            self._in_work -= 1

    def _check_size(self, name: str, data: bytes, call: Call) -> None:
        """The server closes the connection of whoever sends too much."""
        most = self._client.max_payload - ROOM_FOR_HEADERS
        if len(data) > most:
            result = "/join" if name in ("runs.wait", "runs.join") else ""
            raise TooLarge(
                f"The answer has {len(data)} bytes, and this NATS server lets through {most} (max_payload): read it "
                f"over HTTP, GET /threads/{call.thread_id}/runs/{call.run_id}{result}."
            )


def _name(error: TreadleError) -> str:
    """What kind of problem it is, as documented."""
    return "Unavailable" if isinstance(error, Overloaded) else type(error).__name__


def _problem(code: int, error: str, detail: str, call: Call, retry_after_secs: int | None = None) -> Reply:
    told = detail[:LONGEST_DETAIL]
    problem = Problem(
        code=code,
        error=error,
        detail=told,
        thread_id=_given(call.thread_id),
        run_id=_given(call.run_id),
    )
    headers = _headers(call)
    if retry_after_secs is not None:
        headers["Retry-After"] = str(retry_after_secs)
    return Reply(json.encode(problem), headers, error=told, code=code)


def _given(value: UUID | None) -> UUID | UnsetType:
    return UNSET if value is None else value


def _headers(call: Call) -> dict[str, str]:
    """The run that this is about, as HTTP has it."""
    if call.run_id is None:
        return {}
    return {"Content-Location": f"/threads/{call.thread_id}/runs/{call.run_id}"}
