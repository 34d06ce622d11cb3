"""Writing down a run that was asked for: once, though Postgres goes away and its answer is lost."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from treadle.db.new_run import NewRun
from treadle.db.pool import postgres_errors
from treadle.db.runs import Created, Runs
from treadle.errors import Overloaded, Unavailable

# How long it is tried to find out what became of a run after the answer was lost.
LOOK_SECS = 5.0
RETRY_SECS = 0.2
# What says for certain that nothing was done: Postgres was not reached, or has said so.
_REFUSALS = (
    ConnectionRefusedError,
    FileNotFoundError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
)


async def accept(runs: Runs, new: NewRun) -> Created:
    """Create a run, whatever becomes of the answer.

    A connection that is lost in the middle says nothing of what was committed. The run's id is chosen before, so it is looked
    for under its id, and created again if it is not there. (Runs that its strategy cancelled are then not named in the answer:
    their workers learn of it with the next heartbeat.)

    Raises:
        Overloaded: no connection was to be had; nothing was done.
        Unavailable: Postgres was not reached, or stayed away; after a loss, the run may have been accepted.
    """
    lost_until: float | None = None
    while True:
        try:
            with postgres_errors("creating a run"):
                return await _create(runs, new, lost=lost_until is not None)
        except Overloaded:
            raise
        except Unavailable as error:
            if lost_until is None:
                if isinstance(error.__cause__, _REFUSALS):
                    raise
                lost_until = time.monotonic() + LOOK_SECS
            if time.monotonic() > lost_until:
                raise
        except asyncpg.UniqueViolationError:
            if lost_until is None:
                raise
            # The first statement was still on its way, and has committed just now.
        await asyncio.sleep(RETRY_SECS)


async def _create(runs: Runs, new: NewRun, *, lost: bool) -> Created:
    if not lost:
        return await runs.create(new)
    if (before := await _found(runs, new)) is not None:
        return before
    created = await runs.create(new)
    # What it was refused for may be itself.
    return created if created.run is not None else await _found(runs, new) or created


async def _found(runs: Runs, new: NewRun) -> Created | None:
    run = await runs.get(new.scope, new.thread_id, new.run_id, gone=True)
    return None if run is None else Created("created", (), run)
