"""API, workers and scheduler as processes on servers of the benchmark's own: what `treadle dev` does, with the servers in reach."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.server import CONFIG, HOST, LAST_LINES, SERVED_PYTHON, free_port
from treadle.dev.readiness import until_ok
from treadle.dev.servers import Servers
from treadle.errors import TreadleError

READY_SECS = 60.0
STOP_SECS = 60.0


class ServiceFailed(TreadleError):
    """A service did not start, or ended by itself; the message ends with its last lines."""


@asynccontextmanager
async def serving(servers: Servers, names: Sequence[str], logs: Path, **settings: str) -> AsyncGenerator[str]:
    """Run services on servers that have the schema, among them one API; yields its URL once it answers.

    Raises:
        ServiceFailed: one of them has ended before it was told to.
    """
    port = free_port()
    configured = environment(servers, TREADLE_PORT=str(port), **settings)
    async with AsyncExitStack() as stack:
        running: list[tuple[Process, Path]] = []
        for number, name in enumerate(names):
            log = logs / f"{name}-{number}.log"
            running.append((await stack.enter_async_context(service(name, log, configured)), log))
        async with asyncio.timeout(READY_SECS):
            await until_ok(HOST, port)
        yield f"http://{HOST}:{port}"
        for process, log in running:
            if process.returncode is not None:
                lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
                raise ServiceFailed("\n".join([f"{log.stem} ended by itself. Its last lines:", *lines]))


def environment(servers: Servers, **settings: str) -> dict[str, str]:
    """What services on these servers are configured by."""
    return {
        **os.environ,
        "DATABASE_URI": servers.postgres.url,
        "NATS_URL": servers.nats.url,
        "REDIS_URI": servers.valkey.url,
        "LANGGRAPH_CONFIG": str(CONFIG),
        **settings,
    }


def service(name: str, log: Path, environment: dict[str, str]) -> AbstractAsyncContextManager[Process]:
    """Run one service; leaving the context stops it, unless it has ended."""
    return module(f"treadle_{name}", log, environment, python=SERVED_PYTHON)


@asynccontextmanager
async def module(
    name: str, log: Path, environment: dict[str, str], *arguments: str, python: str = sys.executable
) -> AsyncGenerator[Process]:
    """Run a module as a process; leaving the context stops it, unless it has ended."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(python, "-m", name, *arguments), env=environment, stdout=out, stderr=STDOUT
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), STOP_SECS)
