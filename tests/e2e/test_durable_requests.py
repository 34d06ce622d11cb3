"""Durable requests: whatever is published to `treadle.requests.<source>` is one run of its name, or a dead letter."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from nats.js import JetStreamContext

from tests.e2e.bus import REQUESTS, ask, bus, kill, settled
from tests.stack import Stack, running_stack

RUNS = "select count(*) from treadle.run"
NAMES = "select array_agg(message_id) from treadle.request where source = $1"


@asynccontextmanager
async def postgres(stack: Stack) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(stack.servers.postgres.url)
    try:
        yield connection
    finally:
        await connection.close()


def steps(text: str = "a", **fields: Any) -> dict[str, Any]:
    return {"assistant_id": "steps", "input": {"text": text}, **fields}


async def publish(js: JetStreamContext, names: list[str], at_once: int = 200) -> None:
    """Publish a request under each of the names, many at a time."""
    left = iter(names)

    async def some() -> None:
        for name in left:
            await ask(js, "orders", steps(name), name)

    await asyncio.gather(*(some() for _ in range(at_once)))


async def test_five_thousand_names_published_three_times_are_five_thousand_runs() -> None:
    """NATS is killed in the middle, and forgets what it has seen; then the stream is made anew, and forgets all."""
    names = [f"order-{number}" for number in range(5000)]
    sent = [*names, *names, *names]
    random.Random(4).shuffle(sent)
    async with running_stack("api") as stack, bus(stack) as client, postgres(stack) as connection:
        js = client.jetstream()

        async def restart() -> None:
            while await connection.fetchval(RUNS) < 1500:
                continue
            await kill(stack)
            await stack.servers.nats.start()

        await asyncio.gather(publish(js, sent), restart())
        await settled(js)
        assert await connection.fetchval(RUNS) == 5000
        assert sorted(await connection.fetchval(NAMES, "orders")) == sorted(names)

        await js.delete_stream(REQUESTS)
        await publish(js, names)
        await settled(js)
        assert await connection.fetchval(RUNS) == 5000
        assert len(await connection.fetchval(NAMES, "orders")) == 5000
