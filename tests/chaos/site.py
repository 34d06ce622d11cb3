"""The place of a round: its servers, and services of which dead ones are replaced."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from tests.chaos.proxy import Proxy
from tests.chaos.work import Work
from tests.stack import Service, Stack, free_port

# (service, server), ("worker", "postgres") for example; (client, service) for the clients: ("client", "api").
Between = tuple[str, str]

# What tells each service where a server is.
ADDRESSES = {"postgres": "DATABASE_URI", "nats": "NATS_URL", "valkey": "REDIS_URI"}
# How soon after its end a service is started again, as an orchestrator would.
RESTART_SECS = 0.2
# Seven processes that start at once take their time on a machine that is busy.
START_SECS = 90.0


@dataclass
class Seat:
    """The place of one service: whatever happens to the one that sits there, another one follows."""

    kind: str
    settings: Mapping[str, str]
    service: Service
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


@dataclass(frozen=True)
class Death:
    """The end of a service: which one, with what exit status, when.

    `meant`: a fault has ended it; `told`: by SIGTERM and nothing else, on which it ends with 0.
    """

    service: Service
    status: int
    at: datetime
    meant: bool
    told: bool = False


@dataclass(frozen=True)
class Freeze:
    """The time in which a process was stopped."""

    pid: int
    since: datetime
    until: datetime


class BringIn(Protocol):
    """Creates a run on a new thread beside the load: what it is called, the thread's id, what it does."""

    async def __call__(self, name: str, thread_id: str, work: Work, /) -> None: ...


async def nobody(name: str, thread_id: str, work: Work, /) -> None:
    """There is no load yet."""


def now() -> datetime:
    """By the clock of this machine, which is that of all its databases."""
    return datetime.now(UTC)


class Site:
    """Servers, and services on them that are kept in number."""

    def __init__(self, stack: Stack, links: Mapping[Between, Proxy], *, outage_secs: float = 60.0) -> None:
        """
        Args:
            links: the connections that lead through a proxy in this round. Of each kind of service only one, the first
                started, is behind its proxies (and whichever takes its place): the others can take over from it.
            outage_secs: how long the longest outages last.
        """
        self.stack = stack
        self.links = links
        self.outage_secs = outage_secs
        self.deaths: list[Death] = []
        self.freezes: list[Freeze] = []
        self.bring_in: BringIn = nobody
        self.streams_open: Callable[[str], int] = lambda url: 0
        """How many streams clients read from an address."""
        self._killed: set[int] = set()
        self._told: set[int] = set()
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._seats: list[Seat] = []
        self._tending: list[asyncio.Task[None]] = []

    @property
    def workers(self) -> list[Service]:
        return self._live("worker")

    @property
    def apis(self) -> list[Service]:
        return self._live("api")

    @property
    def schedulers(self) -> list[Service]:
        return self._live("scheduler")

    def _live(self, kind: str) -> list[Service]:
        """Those that run; one that was just killed may be missing, one that just started need not answer yet."""
        return [seat.service for seat in self._seats if seat.kind == kind and seat.service.running]

    def turn(self, server: str) -> asyncio.Lock:
        """Held by a fault that stops or changes a server: two that strike the same one take turns."""
        return self._turns[server]

    def choose(self, kind: str, chance: random.Random) -> Service | None:
        """One that runs; None when another fault has ended all of this kind a moment ago."""
        live = self._live(kind)
        return chance.choice(live) if live else None

    async def kill(self, service: Service) -> None:
        """As `kill -9` does. Another one follows in its place."""
        self._killed.add(service.pid)
        await service.kill()

    async def terminate(self, service: Service) -> None:
        """Ask it to end (SIGTERM), and wait until it has. Another one follows in its place."""
        self._told.add(service.pid)
        await service.stop()

    async def freeze(self, service: Service, secs: float) -> None:
        """Stop the process (SIGSTOP), and let it go on after that time."""
        since = now()
        service.pause()
        try:
            await asyncio.sleep(secs)
        finally:
            service.resume()
            self.freezes.append(Freeze(service.pid, since, now()))

    def linked(self, kind: str) -> Service:
        """The service of this kind that is behind the proxies, dead or alive."""
        return next(seat.service for seat in self._seats if seat.kind == kind)

    def urls(self) -> list[str]:
        """Where clients find the API: each live process, one of them behind the proxy for clients, if there is one."""
        return [self.url_of(api) for api in self.apis]

    def url_of(self, api: Service) -> str:
        """Where clients find this API process."""
        proxy = self.links.get(("client", "api"))
        return proxy.url if proxy is not None and api is self.linked("api") else api.url

    @property
    def nats_url(self) -> str:
        """Where clients that publish find NATS."""
        proxy = self.links.get(("client", "nats"))
        return self.stack.servers.nats.url if proxy is None else proxy.url

    async def replace(self, service: Service) -> Service:
        """End a service that still runs, and wait until another one was started in its place. It need not be ready."""
        seat = next(seat for seat in self._seats if seat.service is service)
        if service.running:
            await self.kill(service)
        async with seat.changed:
            await seat.changed.wait_for(lambda: seat.service is not service)
        return seat.service

    async def start(self, **numbers: int) -> None:
        """Start so many of each kind, and wait until all take work."""
        for kind, number in numbers.items():
            for place in range(number):
                settings = self._addresses(kind) if place == 0 else {}
                if kind == "api":  # as behind a balancer: another process, the same address
                    settings["TREADLE_PORT"] = str(free_port())
                self._seats.append(Seat(kind, settings, await self.stack.spawn(kind, **settings)))
        await asyncio.gather(*(seat.service.ready(START_SECS) for seat in self._seats))
        self._tending = [
            asyncio.create_task(self._tend(seat), name=f"seat-{seat.kind}") for seat in self._seats
        ]

    def _addresses(self, kind: str) -> dict[str, str]:
        return {
            ADDRESSES[server]: proxy.url for (service, server), proxy in self.links.items() if service == kind
        }

    async def _tend(self, seat: Seat) -> None:
        while True:
            status = await seat.service.exited()
            killed, told = (seat.service.pid in pids for pids in (self._killed, self._told))
            self.deaths.append(Death(seat.service, status, now(), killed or told, told and not killed))
            await asyncio.sleep(RESTART_SECS)
            service = await self.stack.spawn(seat.kind, **seat.settings)
            async with seat.changed:
                seat.service = service
                seat.changed.notify_all()

    async def close(self) -> None:
        """Replace nothing any more; the stack stops the services."""
        for task in self._tending:
            task.cancel()
        await asyncio.gather(*self._tending, return_exceptions=True)


@asynccontextmanager
async def opened(
    stack: Stack, links: Mapping[Between, Proxy], *, outage_secs: float, **numbers: int
) -> AsyncGenerator[Site]:
    """A site with so many services of each kind."""
    site = Site(stack, links, outage_secs=outage_secs)
    try:
        await site.start(**numbers)
        yield site
    finally:
        await site.close()
