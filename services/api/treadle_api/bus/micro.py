"""A service of the NATS micro-service framework whose endpoints serve many requests at a time.

nats.micro's own `Service` awaits one handler after the other, which will not do where one waits for a run, and throws
away what has arrived when it stops. So the subscriptions and the counting are ours; the messages, their subjects and
what they mean are the framework's (https://github.com/nats-io/nats-architecture-and-design, ADR-32).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.micro.request import Request
from nats.micro.service import (
    DEFAULT_QUEUE_GROUP,
    EndpointInfo,
    EndpointStats,
    ServiceConfig,
    ServiceInfo,
    ServicePing,
    ServiceStats,
    ServiceVerb,
    control_subject,
)
from nats.nuid import NUID

from treadle import json
from treadle.messaging.connection import NATS_ERRORS

log = logging.getLogger(__name__)

# Longer descriptions of errors are cut off in the header; the body has them whole.
LONGEST_HEADER = 500


@dataclass(frozen=True)
class Reply:
    """What a request is answered with; `error` and `code` as the framework's headers have them."""

    data: bytes
    headers: dict[str, str]
    error: str = ""
    code: int = 200


Handler = Callable[[Msg], Awaitable[Reply]]
Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Endpoint:
    """One subject, what answers there, and how that goes."""

    def __init__(self, name: str, subject: str, metadata: dict[str, str], handler: Handler) -> None:
        self.name = name
        self.subject = subject
        self._in_work = 0
        self._metadata = metadata
        self._handler = handler
        self._requests = 0
        self._answered = 0
        self._errors = 0
        self._last_error = ""
        self._nanoseconds = 0

    @property
    def info(self) -> EndpointInfo:
        return EndpointInfo(self.name, self.subject, DEFAULT_QUEUE_GROUP, self._metadata)

    @property
    def stats(self) -> EndpointStats:
        """Times are of the requests that have been answered, the waiting for runs included."""
        return EndpointStats(
            name=self.name,
            subject=self.subject,
            queue_group=DEFAULT_QUEUE_GROUP,
            num_requests=self._requests,
            num_errors=self._errors,
            processing_time=self._nanoseconds,
            average_processing_time=self._nanoseconds // max(self._answered, 1),
            last_error=self._last_error,
            data={"in_work": self._in_work},
        )

    def arrived(self) -> None:
        self._requests += 1
        self._in_work += 1

    async def serve(self, message: Msg) -> None:
        """Answer a request that has arrived."""
        began = time.perf_counter_ns()
        try:
            reply = await self._handler(message)
            if reply.error:
                self._errors += 1
                self._last_error = f"{reply.code}:{reply.error}"
            await _send(message, reply)
        except Exception as error:
            log.error("a request on %s is not answered", self.subject, exc_info=error)
        finally:
            self._in_work -= 1
            self._answered += 1
            self._nanoseconds += time.perf_counter_ns() - began


class Service:
    """Endpoints that processes of the same name share, and what the framework's tools ask of them."""

    def __init__(self, client: Client, config: ServiceConfig, endpoints: Sequence[Endpoint]) -> None:
        self._client = client
        self._config = config
        self._endpoints = endpoints
        self._id = NUID().next().decode()
        self._started = datetime.now(UTC)
        self._subscriptions: list[Subscription] = []

    async def start(self, spawn: Spawn) -> None:
        """Take requests; a connection that is lost takes its subscriptions along when it comes back.

        Args:
            spawn: begins a task, which its owner ends.
        """
        for endpoint in self._endpoints:
            await self._subscribe(endpoint.subject, _taking(endpoint, spawn), DEFAULT_QUEUE_GROUP)
        for verb, tell in (
            (ServiceVerb.PING, self._ping),
            (ServiceVerb.INFO, self._info),
            (ServiceVerb.STATS, self._stats),
        ):
            for name, service_id in ((None, None), (self._config.name, None), (self._config.name, self._id)):
                await self._subscribe(control_subject(verb, name, service_id), _telling(tell))

    async def drain(self) -> None:
        """Take no more requests, and begin what has arrived. Needs NATS."""
        subscriptions, self._subscriptions = self._subscriptions, []
        await asyncio.gather(*(subscription.drain() for subscription in subscriptions))

    async def _subscribe(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]], queue: str = ""
    ) -> None:
        self._subscriptions.append(await self._client.subscribe(subject, queue=queue, cb=callback))

    def _ping(self) -> dict[str, Any]:
        return ServicePing(self._id, self._config.name, self._config.version, self._metadata).to_dict()

    def _info(self) -> dict[str, Any]:
        return ServiceInfo(
            name=self._config.name,
            id=self._id,
            version=self._config.version,
            description=self._config.description,
            endpoints=[endpoint.info for endpoint in self._endpoints],
            metadata=self._metadata,
        ).to_dict()

    def _stats(self) -> dict[str, Any]:
        return ServiceStats(
            id=self._id,
            name=self._config.name,
            version=self._config.version,
            started=self._started,
            endpoints=[endpoint.stats for endpoint in self._endpoints],
            metadata=self._metadata,
        ).to_dict()

    @property
    def _metadata(self) -> dict[str, str]:
        return self._config.metadata or {}


def _taking(endpoint: Endpoint, spawn: Spawn) -> Callable[[Msg], Awaitable[None]]:
    async def take(message: Msg) -> None:
        if not message.reply:
            log.warning(
                "a message on %s wants no reply; what needs none is published elsewhere", message.subject
            )
            return
        endpoint.arrived()
        spawn(endpoint.serve(message))

    return take


def _telling(tell: Callable[[], dict[str, Any]]) -> Callable[[Msg], Awaitable[None]]:
    async def answer(message: Msg) -> None:
        await _send(message, Reply(json.encode(tell()), {}))

    return answer


async def _send(message: Msg, reply: Reply) -> None:
    """An answer that NATS does not take is lost: whoever asked asks again."""
    request = Request(message)
    try:
        if reply.error:
            text = reply.error[:LONGEST_HEADER]
            await request.respond_error(str(reply.code), text, reply.data, reply.headers)
        else:
            await request.respond(reply.data, reply.headers or None)
    except NATS_ERRORS as error:
        log.info("an answer on %s is lost: %r", message.subject, error)
