"""Batches of runs: all of them are made, or none."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from tests.integration.ticking import Ticking, new_assistant
from treadle.db.pool import Pool, transaction
from treadle.errors import Unavailable
from treadle.operations import create
from treadle.operations.asking import Asking
from treadle.wire.runs import BatchRun

NEW_THREAD = "insert into treadle.thread (thread_id) values ($1)"
LOCK = "select from treadle.thread where thread_id = $1 for update"
FREE, HELD = UUID(int=1), UUID(int=2)


async def test_a_batch_gives_up_when_its_threads_are_held_for_too_long(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many threads: it holds those that it has, and its events come too late then to be told in order."""
    monkeypatch.setattr(create, "BATCH_SECS", 0.3)
    assistant = await new_assistant(pool)
    for thread in (FREE, HELD):
        await pool.execute(NEW_THREAD, thread)
    batch = [BatchRun(assistant_id=str(assistant), thread_id=thread) for thread in (FREE, HELD)]

    async with transaction(pool) as other, asyncio.timeout(10):
        await other.execute(LOCK, HELD)
        with pytest.raises(Unavailable, match="a batch of runs"):
            await Ticking(pool).creation.create_all(Asking(), batch)

    assert await pool.fetchval("select count(*) from treadle.run_event") == 0
    assert len(await Ticking(pool).creation.create_all(Asking(), batch)) == 2
