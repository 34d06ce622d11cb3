"""Faults of processes: killed, frozen, told to stop in the middle, and what the code of a run does to its worker."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from tests.chaos.fault import Fault
from tests.chaos.settings import BLOCK_SECS, LEASE_SECS
from tests.chaos.site import Between, Site
from tests.chaos.work import Work
from tests.stack import Service

NO_LINKS: frozenset[Between] = frozenset()


async def _one(
    site: Site, kind: str, chance: random.Random, strike: Callable[[Service], Awaitable[None]]
) -> str:
    """Strike one process of a kind; which one, or nothing where none is left."""
    if (victim := site.choose(kind, chance)) is None:
        return ""
    await strike(victim)
    return str(victim.pid)


@dataclass(frozen=True)
class Kill:
    """kill -9, without time for anything."""

    kind: str
    links: frozenset[Between] = NO_LINKS

    @property
    def name(self) -> str:
        return f"{self.kind}: kill -9"

    async def strike(self, site: Site, chance: random.Random) -> str:
        return await _one(site, self.kind, chance, site.kill)


@dataclass(frozen=True)
class KillStreaming:
    """kill -9 of the API process from which most streams are being read. Without any, it has hit nothing that counts."""

    name: str = "api: kill -9 with open streams"
    links: frozenset[Between] = NO_LINKS

    async def strike(self, site: Site, chance: random.Random) -> str:
        streams = {api: site.streams_open(site.url_of(api)) for api in site.apis}
        if not streams:
            return ""
        victim = max(streams, key=lambda api: streams[api])
        await site.kill(victim)
        return f"{victim.pid} with {streams[victim]} streams open" if streams[victim] else ""


@dataclass(frozen=True)
class Terminate:
    """SIGTERM, with runs or streams in hand."""

    kind: str
    links: frozenset[Between] = NO_LINKS

    @property
    def name(self) -> str:
        return f"{self.kind}: SIGTERM"

    async def strike(self, site: Site, chance: random.Random) -> str:
        return await _one(site, self.kind, chance, site.terminate)


@dataclass(frozen=True)
class Freeze:
    """SIGSTOP until the leases of its runs are over and others have them, then SIGCONT."""

    name: str = "worker: SIGSTOP past the lease"
    links: frozenset[Between] = NO_LINKS

    async def strike(self, site: Site, chance: random.Random) -> str:
        async def freeze(victim: Service) -> None:
            await site.freeze(victim, LEASE_SECS + chance.uniform(0.5, 4.0))

        return await _one(site, "worker", chance, freeze)


@dataclass(frozen=True)
class KillLeader:
    """kill -9 of the scheduler that leads."""

    name: str = "scheduler: kill -9 of the leader"
    links: frozenset[Between] = NO_LINKS

    async def strike(self, site: Site, chance: random.Random) -> str:
        leader = await self._leader(site)
        if (victim := leader or site.choose("scheduler", chance)) is not None:
            await site.kill(victim)
        return str(leader.pid) if leader is not None else ""

    async def _leader(self, site: Site) -> Service | None:
        """None when the database, which another fault may have taken away, does not say."""
        try:
            async with site.stack.database() as database:
                holder = await database.fetchval("select holder from treadle.leader limit 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return None
        pids = {int(number) for number in re.findall(r"\d+", holder or "")}
        return next((service for service in site.schedulers if service.pid in pids), None)


@dataclass(frozen=True)
class Harm:
    """A run whose code harms the worker that has it. What comes of it is the run's and its neighbours' to bear."""

    name: str
    works: Sequence[Work]
    links: frozenset[Between] = NO_LINKS

    async def strike(self, site: Site, chance: random.Random) -> str:
        thread_id = str(UUID(int=chance.getrandbits(128), version=4))
        work = chance.choice(self.works)
        await site.bring_in(f"{work.harm}-{thread_id[:6]}", thread_id, work)
        return thread_id


OUT_OF_MEMORY = Harm("node: out of memory", [Work(2, 0.1, harm="hoard")])
BLOCKS = Harm("node: blocks the loop past the lease", [Work(2, 0.1, harm="block", dose=BLOCK_SECS)])
NEVER_ENDS = Harm("node: never ends", [Work(2, 0.1, harm="forever")])
EXITS = Harm("node: os._exit", [Work(2, 0.1, harm="exit", dose=1), Work(2, 0.1, harm="exit", dose=2)])

FAULTS: Sequence[Fault] = (
    Kill("worker"),
    Freeze(),
    Terminate("worker"),
    OUT_OF_MEMORY,
    BLOCKS,
    NEVER_ENDS,
    EXITS,
    KillStreaming(),
    Terminate("api"),
    KillLeader(),
)
