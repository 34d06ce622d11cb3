"""`treadle api --processes 2`: two whole APIs on one port, and one process that keeps them."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import psutil
import pytest_asyncio

from tests.e2e.steps import new_thread, wait
from tests.stack import READY_SECS, Service, Stack, free_port, running_stack

CLIENTS = 32


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack() -> AsyncGenerator[Stack]:
    async with running_stack("worker") as running:
        yield running


@asynccontextmanager
async def two_processes(stack: Stack, port: int) -> AsyncGenerator[Service]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "treadle.cli", "api", "--processes", "2"),
        env={**stack.environment, "PATH": "", "PYTHONPATH": ":".join(sys.path), "TREADLE_PORT": str(port)},
        stdout=PIPE,
        stderr=STDOUT,
    )
    service = Service("api", process, port)
    try:
        yield service
    finally:
        await service.stop()


def children(service: Service) -> list[psutil.Process]:
    return psutil.Process(service.pid).children()


async def ready(service: Service, times: int) -> None:
    """Wait until processes have begun to listen so many times in all."""
    async with asyncio.timeout(READY_SECS):
        while service.text.count("listening on") < times:
            assert service.running, service.text
            await asyncio.sleep(0.05)


def served_by(process: psutil.Process, port: int) -> int:
    """How many clients' connections a process has."""
    return sum(
        each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED
        for each in process.net_connections("tcp")
        if each.laddr
    )


async def test_clients_are_dealt_out_among_the_processes(stack: Stack) -> None:
    async with two_processes(stack, free_port()) as api, AsyncExitStack() as clients:
        await ready(api, 2)

        for _ in range(CLIENTS):
            client = await clients.enter_async_context(httpx.AsyncClient(base_url=api.url))
            assert (await client.get("/ok")).status_code == 200

        assert min(served_by(child, api.port) for child in children(api)) > 0

        for _ in range(4):
            made = await wait(api.client, await new_thread(api.client), "steps", input={"text": "a"})
            assert made["text"] == "A!"


async def test_a_process_that_dies_is_started_again_and_all_end_together(stack: Stack) -> None:
    async with two_processes(stack, free_port()) as api:
        await ready(api, 2)
        dead, other = children(api)

        dead.kill()
        # Its socket goes with it: a client that came before would be reset.
        await asyncio.to_thread(dead.wait, 10)
        async with httpx.AsyncClient(base_url=api.url) as client:
            assert (await client.get("/ok")).status_code == 200
        await ready(api, 3)
        before = children(api)

        assert other in before
        assert len(before) == 2
        assert await api.stop() == 0
        assert not any(process.is_running() for process in before)


async def test_a_port_that_somebody_has_is_not_shared(stack: Stack) -> None:
    async with two_processes(stack, free_port()) as api:
        await ready(api, 2)
        async with two_processes(stack, api.port) as second:
            assert await second.exited() == 78
            assert await second.logged("cannot listen on")
