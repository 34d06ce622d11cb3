"""Runs about which nothing matters but that they are there."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from treadle.db.new_run import NewRun
from treadle.db.pool import Pool
from treadle.db.runs import Runs


async def accepted(pool: Pool, thread_id: UUID, **kwargs: Any) -> UUID:
    """A new run at the end of a thread's queue; the thread is made if it is not there."""
    run_id = uuid4()
    made = await Runs(pool).create(
        NewRun(
            run_id=run_id,
            thread_id=thread_id,
            assistant_id=uuid4(),
            graph_id="g",
            kwargs=kwargs,
            if_not_exists="create",
        )
    )
    assert made.outcome == "created"
    return run_id
