"""Both ends of a stream of events, and the Valkey between them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from treadle.dev.servers import EmbeddedValkey
from treadle.streaming import (
    Event,
    EventHub,
    EventId,
    EventPublisher,
    EventWriter,
    StreamLimits,
    Subscription,
    connect,
)
from treadle.streaming.hub import REST_SECS

SUCCESS = {"status": "success"}
PATIENCE_SECS = 20.0


@asynccontextmanager
async def a_valkey() -> AsyncGenerator[EmbeddedValkey]:
    with tempfile.TemporaryDirectory(prefix="treadle-test-") as directory:
        async with EmbeddedValkey(Path(directory)) as server:
            yield server


@asynccontextmanager
async def connected(server: EmbeddedValkey) -> AsyncGenerator[Redis]:
    client = connect(server.url)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def both_ends(
    server: EmbeddedValkey, limits: StreamLimits | None = None, rest_secs: float = REST_SECS
) -> AsyncGenerator[tuple[EventPublisher, EventHub]]:
    """A worker's publisher and an API's hub, as in two processes."""
    async with (
        connected(server) as workers,
        connected(server) as apis,
        EventPublisher(workers, limits) as publisher,
        EventHub(apis, rest_secs=rest_secs) as hub,
    ):
        yield publisher, hub


async def kill(server: EmbeddedValkey) -> None:
    """Its state is lost, as is what was on the way."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()


async def eventually(condition: Callable[[], bool]) -> None:
    """For what nobody announces."""
    async with asyncio.timeout(PATIENCE_SECS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def held() -> bool:
    """A lease that is never lost."""
    return True


def write(writer: EventWriter, count: int, data: bytes = b"{}") -> None:
    for _ in range(count):
        writer.write("values", data)


async def steadily(writer: EventWriter) -> None:
    for _ in range(200):
        writer.write("values", b"{}")
        await asyncio.sleep(0.005)


async def in_bursts(writer: EventWriter) -> None:
    for _ in range(40):
        write(writer, random.randrange(1, 400))
        await asyncio.sleep(random.uniform(0, 0.05))


def ids(events: Iterable[Event]) -> list[EventId]:
    return [event.id for event in events]


def numbered(attempt: int, numbers: range) -> list[EventId]:
    return [EventId(attempt, n) for n in numbers]


async def rest(subscription: Subscription) -> list[Event]:
    async with asyncio.timeout(PATIENCE_SECS):
        return [event async for event in subscription]


async def take(subscription: Subscription, count: int) -> list[Event]:
    """At least so many events."""
    taken: list[Event] = []
    async with asyncio.timeout(PATIENCE_SECS):
        while len(taken) < count:
            events = await subscription.next_batch()
            assert events is not None
            taken += events
    return taken
