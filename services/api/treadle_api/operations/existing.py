"""Runs that have to be there."""

from __future__ import annotations

from uuid import UUID

from treadle.db.pool import postgres_errors
from treadle.db.runs import Runs
from treadle.db.scope import Scope
from treadle.model import Run
from treadle.operations.missing import no_run


async def existing_run(runs: Runs, scope: Scope, thread_id: UUID, run_id: UUID, *, gone: bool = False) -> Run:
    """A run as it is now.

    Args:
        gone: whether it may be one of a stateless thread that is hidden already.

    Raises:
        NotFound: there is no such run.
        Unavailable: Postgres cannot be reached.
    """
    with postgres_errors("reading a run"):
        run = await runs.get(scope, thread_id, run_id, gone=gone)
    if run is None:
        raise no_run(thread_id, run_id)
    return run
