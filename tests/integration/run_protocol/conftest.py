"""A thread to take the protocol's steps on, and its checkpoints."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.integration.run_protocol.bench import Bench
from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.db.pool import Pool


@pytest.fixture
def bench(pool: Pool) -> Bench:
    return Bench(pool)


@pytest.fixture
async def checkpoints(dsn: str) -> AsyncGenerator[ConnectionPool]:
    async with checkpoint_pool(dsn, size=2, service="test") as pool:
        yield pool
