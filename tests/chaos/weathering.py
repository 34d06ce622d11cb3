"""One site for the tests of single faults: each part but the clients has one process, so that nobody else makes up for it."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.crowd import weather
from tests.chaos.fault import Fault
from tests.chaos.faults.network import LINKS
from tests.chaos.proxy import Proxy
from tests.chaos.site import Between, Site, opened
from tests.stack import running_stack

# Longer than the outages, also on a busy machine: no run has to go on elsewhere.
LEASE_SECS = 20.0
OUTAGE_SECS = 1.5
# From the end of a fault until all has ended that was accepted by then.
RECOVERY_SECS = 60.0
EMPTY = "truncate treadle.thread, checkpoints, checkpoint_writes, checkpoint_blobs cascade"
# The faults that are not in every run of the tests.
ALL = "CHAOS_EACH_FAULT"


@asynccontextmanager
async def proxied_site(**settings: str) -> AsyncGenerator[Site]:
    """One API process, one worker and one scheduler, each behind proxies."""
    given = {
        "TREADLE_LEASE_SECS": f"{LEASE_SECS:g}",
        "TREADLE_SSE_HEARTBEAT_SECS": "1",
        "N_JOBS_PER_WORKER": "20",
    }
    async with running_stack(**given, **settings) as stack, AsyncExitStack() as exits:
        servers = stack.servers
        targets = {
            "postgres": lambda: servers.postgres.url,
            "nats": lambda: servers.nats.url,
            "valkey": lambda: servers.valkey.url,
            "api": lambda: site.linked("api").url,
        }
        links: dict[Between, Proxy] = {}
        for link in LINKS:
            links[link] = await exits.enter_async_context(Proxy(targets[link[1]]).listening())
        async with opened(stack, links, outage_secs=OUTAGE_SECS, api=1, worker=1, scheduler=1) as site:
            yield site


async def weathers(site: Site, fault: Fault, log: Path) -> None:
    """Let the fault strike a crowd; no service may have died of it."""
    live = "Redis" not in fault.name and "valkey" not in fault.name
    before = len(site.deaths)
    strike = fault.strike(site, random.Random(1))
    url = site.links["client", "api"].url
    try:
        await weather(site.stack, url, log / "marks", strike, secs=RECOVERY_SECS, live=live)
        assert not site.deaths[before:], "\n".join(death.service.text for death in site.deaths[before:])
    finally:
        async with site.stack.database() as database:
            await database.execute(EMPTY)


def cases(faults: Collection[Fault], always: Collection[str]) -> list[object]:
    """The faults as parameters of a test; all but some of them only if CHAOS_EACH_FAULT is set."""
    skipped = pytest.mark.skipif(ALL not in os.environ, reason=f"{ALL} is not set")
    return [
        pytest.param(fault, id=fault.name, marks=() if fault.name in always else skipped) for fault in faults
    ]
