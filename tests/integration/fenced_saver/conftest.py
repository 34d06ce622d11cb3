"""A run that a worker has claimed, and where its checkpoints go."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest

from tests.integration.accepting import accepted
from tests.integration.fenced_saver.writes import claimed
from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.db.pool import Pool
from treadle.db.runs import Runs
from treadle.model import Run


@pytest.fixture
async def checkpoints(dsn: str) -> AsyncGenerator[ConnectionPool]:
    async with checkpoint_pool(dsn, size=4, service="test") as pool:
        yield pool


@pytest.fixture
def runs(pool: Pool) -> Runs:
    return Runs(pool)


@pytest.fixture
async def run(pool: Pool, runs: Runs) -> Run:
    """A run that a worker has claimed."""
    thread_id = uuid4()
    await accepted(pool, thread_id)
    return await claimed(runs, thread_id)
