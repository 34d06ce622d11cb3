"""What asks the API process that many tests share, besides the public client."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx
import pytest_asyncio

from tests.e2e.bus import LISTENING
from tests.e2e.direct import ASK_SECS, Bus, asking
from tests.stack import Service, Stack


@pytest_asyncio.fixture(loop_scope="session")
async def bus(stack: Stack, api: Service) -> AsyncGenerator[Bus]:
    for each in stack.services("api"):
        assert not each.running or await each.logged(LISTENING)
    async with asking(stack) as bus:
        yield bus


@pytest_asyncio.fixture(loop_scope="session")
async def http(api: Service) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api.url, timeout=ASK_SECS) as http:
        yield http
