"""Faults of the network between two of the parts."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from tests.chaos.proxy import Delay, Mode, Plain, Slow
from tests.chaos.site import Between, Site

LINKS: tuple[Between, ...] = (
    ("client", "api"),
    ("client", "nats"),
    *((service, server) for service in ("api", "worker", "scheduler") for server in ("postgres", "nats")),
    ("api", "valkey"),
    ("worker", "valkey"),
)


@dataclass(frozen=True)
class Spoilt:
    """One link does something else than pass, for a while.

    Args:
        what: as it is shown.
        secs: for how long; None: for as long as the site's long outages last.
    """

    what: str
    link: Between
    mode: Mode
    secs: float | None = None

    @property
    def name(self) -> str:
        return f"network: {' to '.join(self.link)} {self.what}"

    @property
    def links(self) -> frozenset[Between]:
        return frozenset({self.link})

    async def strike(self, site: Site, chance: random.Random) -> str:
        """What it hit: the connections that were open as it struck, and those that were asked for meanwhile."""
        link = site.links[self.link]
        open_before, asked_before = link.connections, link.asked
        async with link.turned(self.mode):
            await asyncio.sleep(site.outage_secs if self.secs is None else self.secs)
        connections = open_before + link.asked - asked_before
        return f"{connections} connections" if connections else ""


def cut(link: Between, secs: float | None = None) -> Spoilt:
    """All connections are reset, and no new one can be made."""
    return Spoilt("is cut", link, Plain.CUT, secs)


def blinking(link: Between) -> Spoilt:
    """All connections are reset, and new ones can be made at once."""
    return Spoilt("is cut for a moment", link, Plain.CUT, 0.0)


def half_open(link: Between, secs: float | None = None) -> Spoilt:
    """Nothing arrives and nobody is told; what was open stays so for ever."""
    return Spoilt("is half-open", link, Plain.HALF_OPEN, secs)


def late(link: Between, secs: float | None = None) -> Spoilt:
    """Every message takes a fifth of a second, and sometimes twice that."""
    return Spoilt("is late", link, Delay(0.2, 0.2), secs)


def thin(link: Between, secs: float | None = None) -> Spoilt:
    """Few bytes come through in a second."""
    return Spoilt("is slow", link, Slow(20_000), secs)


FAULTS = tuple(make(link) for link in LINKS for make in (cut, blinking, half_open, late, thin))
