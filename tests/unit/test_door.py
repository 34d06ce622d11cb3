"""What is answered before the API is there."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx
import pytest
from redis.asyncio import Redis

from treadle.graphs.http import Cors
from treadle.messaging.connection import Nats
from treadle_api.operations.health import Dependencies
from treadle_api.shell.door import Door

ORIGIN = {"origin": "https://page.test"}


@pytest.fixture
def dependencies() -> Dependencies:
    """Of nothing that is there."""
    return Dependencies(Nats("nats://127.0.0.1:1", name="test"), Redis(port=1))


@pytest.fixture
async def client(dependencies: Dependencies) -> AsyncGenerator[httpx.AsyncClient]:
    door = Door(dependencies, "", Cors(allow_origins=("https://page.test",)), silent=False)
    transport = httpx.ASGITransport(door)  # pyright: ignore[reportArgumentType]
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        yield client


async def test_a_page_of_another_origin_is_told_that_it_is_too_early(client: httpx.AsyncClient) -> None:
    refused = await client.get("/threads/any", headers=ORIGIN)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.headers["access-control-allow-origin"] == ORIGIN["origin"]


async def test_postgres_is_blamed_only_once_it_was_looked_for(
    client: httpx.AsyncClient, dependencies: Dependencies
) -> None:
    """An app of the user's own starts before that, and takes as long as it likes."""
    assert "Postgres" not in (await client.get("/threads/any")).text
    dependencies.waits_for_postgres("Postgres could not be reached")
    assert "waits for Postgres: Postgres could not be reached" in (await client.get("/threads/any")).text
