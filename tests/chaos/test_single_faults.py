"""Each fault of a server or the network by itself: nothing lost, nothing twice, the order kept, no attempt used up, nobody to be restarted."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.fault import Fault
from tests.chaos.faults import network, servers
from tests.chaos.site import Site
from tests.chaos.weathering import cases, proxied_site, weathers

ALWAYS = (
    "Postgres: kill -9",
    "Postgres: read-only",
    "Postgres: disk full for checkpoints",
    "NATS: data lost",
    "Redis: away",
    "network: api to postgres is cut for a moment",
    "network: worker to valkey is cut",
    "network: worker to nats is cut for a moment",
)
# Nobody publishes here: faults between clients and NATS strike in rounds.
FAULTS = [*servers.FAULTS, *(fault for fault in network.FAULTS if fault.link != ("client", "nats"))]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site() -> AsyncGenerator[Site]:
    async with proxied_site() as site:
        yield site


@pytest.mark.parametrize("fault", cases(FAULTS, ALWAYS))
async def test_runs_in_every_state_come_through(site: Site, fault: Fault, tmp_path: Path) -> None:
    await weathers(site, fault, tmp_path)
