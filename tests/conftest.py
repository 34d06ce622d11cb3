"""Servers and services that many tests share."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient

from tests.stack import Service, Stack, running_stack


def pytest_configure() -> None:
    """Heed Ctrl-C: a shell that runs the tests in the background has them, and what they start, ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack() -> AsyncGenerator[Stack]:
    """One worker and one scheduler on servers of their own; tests that break things start their own stack."""
    async with running_stack("worker", "scheduler") as stack:
        yield stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def api(stack: Stack) -> Service:
    """An API process on the shared stack."""
    return await stack.api()


@pytest_asyncio.fixture(loop_scope="session")
async def other_api(stack: Stack) -> AsyncGenerator[Service]:
    """One more API process on the shared stack, which ends with the test: those after it have one again."""
    other = await stack.api()
    yield other
    await other.stop()


@pytest.fixture
def client(api: Service) -> LangGraphClient:
    """The public client on the shared stack."""
    return api.client


@pytest.fixture
def api_url(api: Service) -> str:
    return api.url
