"""NATS as services inside the house use it: a plain client, which knows nothing of Treadle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from tests.stack import Stack

REQUESTS = "TREADLE_REQUESTS"
# What an API process says as soon as it can be asked.
LISTENING = "answering requests on treadle.api.>"
LOOK_SECS = 0.05


@asynccontextmanager
async def bus(stack: Stack) -> AsyncGenerator[Client]:
    """A client that comes back whenever NATS does."""

    async def unheard(_: Exception) -> None:
        return

    client = await nats.connect(
        stack.servers.nats.url,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,
        error_cb=unheard,
        allow_reconnect=True,
    )
    try:
        yield client
    finally:
        await client.close()


async def kill(stack: Stack) -> None:
    """End NATS as the kernel would."""
    server = stack.servers.nats
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()


async def ask(
    js: JetStreamContext,
    source: str,
    body: Any,
    name: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Publish a durable request, again and again until JetStream has it."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {} if name is None else {"Nats-Msg-Id": name}
    async with asyncio.timeout(60):
        while True:
            try:
                await js.publish(
                    f"treadle.requests.{source}",
                    data,
                    timeout=2,
                    headers={**(headers or {}), **named} or None,
                )
                return
            except (nats.errors.Error, OSError):
                await asyncio.sleep(LOOK_SECS)


async def settled(js: JetStreamContext, secs: float = 60) -> None:
    """Wait until every request that was published is a run or a dead letter."""
    async with asyncio.timeout(secs):
        while not await _is_settled(js):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(LOOK_SECS)


async def _is_settled(js: JetStreamContext) -> bool:
    """The stream keeps what is not acknowledged; its consumer hears of a message a moment after it was stored."""
    try:
        return (await js.stream_info(REQUESTS)).state.messages == 0
    except (NotFoundError, nats.errors.Error, OSError):
        return False
