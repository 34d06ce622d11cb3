"""A connection that is closed while NATS is away: nothing of it goes on, or its process would never end."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.chaos.proxy import Proxy
from treadle.client import connect
from treadle.dev.servers import EmbeddedNats
from treadle.messaging.connection import RECONNECT_WAIT_SECS, Nats
from treadle.patience import OK

NOBODY = "nats://127.0.0.1:1"
CONNECTIONS = 8
# The turns of the loop in which an attempt to connect begins and fails.
TURNS = range(8)
# Far more than it takes.
END_SECS = 20.0


class Losses:
    """Sees connections being lost."""

    def __init__(self) -> None:
        self._lost = 0
        self.all = asyncio.Event()

    def tell(self, state: str) -> None:
        self._lost += state != OK
        if self._lost == CONNECTIONS:
            self.all.set()


@pytest.mark.parametrize("turns", TURNS)
async def test_closing_in_the_midst_of_an_attempt_ends_it(tmp_path: Path, turns: int) -> None:
    others, losses = asyncio.all_tasks(), Losses()
    async with EmbeddedNats(tmp_path) as server:
        async with Proxy(lambda: server.url).listening() as proxy:
            connections = [Nats(proxy.url, name="test", tell=losses.tell) for _ in range(CONNECTIONS)]
            await asyncio.gather(*(connection.connect() for connection in connections))
        await losses.all.wait()
        await asyncio.sleep(0)
        time.sleep(RECONNECT_WAIT_SECS * 1.1)  # noqa: ASYNC251 - so that all of them try in the same turn of the loop
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.gather(*(connection.close() for connection in connections))
        async with asyncio.timeout(END_SECS):
            await asyncio.gather(*(asyncio.all_tasks() - others), return_exceptions=True)


@pytest.mark.parametrize("turns", TURNS)
async def test_a_client_that_waits_for_nats_gives_up_in_the_midst_of_an_attempt(turns: int) -> None:
    """It waits for a while, which is over when an attempt fails."""
    async with Proxy(lambda: NOBODY).listening() as proxy:
        url = proxy.url
    begun = asyncio.Event()

    async def waiting() -> None:
        begun.set()
        async with connect(url, timeout_secs=END_SECS):
            pytest.fail("nobody is there")

    tasks = [asyncio.create_task(waiting()) for _ in range(CONNECTIONS)]
    await begun.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    async with asyncio.timeout(END_SECS / 2):
        await asyncio.gather(*tasks, return_exceptions=True)
