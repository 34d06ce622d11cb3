"""A Valkey, and what a worker and an API have at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from tests.integration.streaming.ends import (
    a_valkey,
    connected,
)
from treadle.dev.servers import EmbeddedValkey
from treadle.streaming import (
    EventHub,
    EventPublisher,
)


@pytest.fixture(scope="session")
async def valkey() -> AsyncIterator[EmbeddedValkey]:
    """For the tests that leave it running."""
    async with a_valkey() as server:
        yield server


@pytest.fixture
async def own_valkey() -> AsyncIterator[EmbeddedValkey]:
    """For a test that stops it."""
    async with a_valkey() as server:
        yield server


@pytest.fixture
async def redis(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    async with connected(valkey) as client:
        yield client


@pytest.fixture
async def publisher(redis: Redis) -> AsyncIterator[EventPublisher]:
    async with EventPublisher(redis) as publisher:
        yield publisher


@pytest.fixture
async def hub(valkey: EmbeddedValkey) -> AsyncIterator[EventHub]:
    """The hub of another process: with a Redis connection of its own."""
    async with connected(valkey) as client, EventHub(client) as hub:
        yield hub


@pytest.fixture
def run_id() -> UUID:
    return uuid4()
