"""A whole Treadle for the tests: real servers, and services as real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from treadle.dev.servers import Servers, temporary_servers
from treadle.migrate import migrate

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"
# Imports alone take a service some seconds of CPU, which many start together.
READY_SECS = 60.0
STOP_SECS = 20.0
DYING_SECS = 2.0

# What each service writes to its log when it takes work.
READY = {"api": "listening on", "worker": "slots on route", "scheduler": "scheduler ready"}


class Service:
    """One service process. Its log is kept, and shown when something goes wrong."""

    def __init__(self, name: str, process: Process, port: int) -> None:
        self.name = name
        self.port = port
        self.log: list[str] = []
        self._process = process
        self._grown = asyncio.Condition()
        self._closed = False
        self._reading = asyncio.create_task(self._read(), name=f"log-{name}-{process.pid}")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> LangGraphClient:
        """The public client, unmodified."""
        return get_client(url=self.url)

    async def ready(self, secs: float = READY_SECS) -> None:
        """Wait until the service takes work."""
        try:
            assert await self.logged(READY[self.name], secs), f"{self.name} ended:\n{self.text}"
        except TimeoutError:
            raise AssertionError(f"{self.name} did not become ready:\n{self.text}") from None

    async def logged(self, text: str, secs: float = READY_SECS) -> bool:
        """Wait until the log has a line with this text; False when the process ends without one."""
        async with asyncio.timeout(secs), self._grown:
            await self._grown.wait_for(lambda: self._closed or text in self.text)
        return text in self.text

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._grown:
                self.log.append(line.decode(errors="replace").rstrip())
                self._grown.notify_all()
        async with self._grown:
            self._closed = True
            self._grown.notify_all()

    @property
    def text(self) -> str:
        return "\n".join(self.log)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    async def kill(self) -> None:
        """As the kernel would: no time for anything."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """Ask it to end, and wait for that; returns its exit status."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def exited(self) -> int:
        """Wait until it has ended of itself, for as long as that takes; returns its exit status."""
        return await self._process.wait()

    async def ended(self) -> int:
        """Wait until it has ended, as it was told to; returns its exit status."""
        try:
            async with asyncio.timeout(STOP_SECS):
                status = await self._process.wait()
                await self._reading
        except TimeoutError:
            self.signal(signal.SIGUSR2)  # says where it is
            await asyncio.wait({self._reading}, timeout=DYING_SECS)
            self.signal(signal.SIGABRT)  # the same of its threads, should it not even do that
            await asyncio.wait({self._reading}, timeout=DYING_SECS)
            self.signal(signal.SIGKILL)
            raise AssertionError(f"{self.name} did not stop in {STOP_SECS} seconds:\n{self.text}") from None
        return status


class Stack:
    """Servers, and the services that a test starts on them."""

    def __init__(self, servers: Servers, settings: Mapping[str, str]) -> None:
        self.servers = servers
        self._settings = dict(settings)
        self._services: list[Service] = []

    @property
    def environment(self) -> dict[str, str]:
        """What the services are configured by."""
        return {
            "DATABASE_URI": self.servers.postgres.url,
            "NATS_URL": self.servers.nats.url,
            "REDIS_URI": self.servers.valkey.url,
            "LANGGRAPH_CONFIG": str(GRAPHS),
            "LOG_FORMAT": "text",
            "PYTHONFAULTHANDLER": "1",
            "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0",
            **self._settings,
        }

    def services(self, name: str) -> list[Service]:
        return [service for service in self._services if service.name == name]

    async def api(self, **settings: str) -> Service:
        return (await self.start("api", **settings))[0]

    async def worker(self, **settings: str) -> Service:
        return (await self.start("worker", **settings))[0]

    async def scheduler(self, **settings: str) -> Service:
        return (await self.start("scheduler", **settings))[0]

    async def start(self, *names: str, **settings: str) -> list[Service]:
        """Start services side by side, and wait until all take work."""
        started = [await self.spawn(name, **settings) for name in names]
        await asyncio.gather(*(service.ready() for service in started))
        return started

    async def spawn(self, name: str, **settings: str) -> Service:
        """Start a service, and do not wait for it; SKEW_SECS: on a host whose clock is wrong by so much."""
        skew = settings.pop("SKEW_SECS", "")
        program = (
            ["tests.chaos.skewed", f"treadle_{name}", skew]
            if skew
            else ["tests.explained", f"treadle_{name}"]
        )
        port = int(settings.get("TREADLE_PORT") or free_port()) if name == "api" else 0
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *program,
            env={**os.environ, **self.environment, "TREADLE_PORT": str(port), **settings},
            stdout=PIPE,
            stderr=STDOUT,
        )
        self._services.append(Service(name, process, port))
        return self._services[-1]

    @asynccontextmanager
    async def database(self) -> AsyncGenerator[asyncpg.Connection]:
        """A connection to look behind the services with."""
        connection = await asyncpg.connect(self.servers.postgres.url)
        try:
            yield connection
        finally:
            await connection.close()

    async def close(self) -> None:
        """Stop whatever still runs; what was paused goes on, so that it can."""
        for service in self._services:
            service.resume()
        await asyncio.gather(*(service.stop() for service in self._services))


@asynccontextmanager
async def running_stack(*names: str, **settings: str) -> AsyncGenerator[Stack]:
    """Servers with the schema in place, and the named services on them."""
    async with temporary_servers() as servers:
        await migrate(servers.postgres.url)
        stack = Stack(servers, settings)
        try:
            await stack.start(*names)
            yield stack
        finally:
            await stack.close()


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def marks(log: Path) -> list[tuple[str, str, int]]:
    """What the graphs of graphs/protocol.py did: (what, label, pid), in order."""
    if not log.exists():
        return []
    lines = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
    return [(what, label, int(pid)) for what, label, pid in lines]
