"""Runs whose client wished them to end with its connection."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from uuid import UUID

from treadle.db.scope import Scope
from treadle.errors import TreadleError
from treadle.model import CancelAction
from treadle.operations.cancel import Cancellation
from treadle.patience import patiently

log = logging.getLogger(__name__)

# Nobody is left to ask again; but what waits here is held by this process.
PATIENCE_SECS = 60.0


async def cancel_for_client(cancellation: Cancellation, scope: Scope, thread_id: UUID, run_id: UUID) -> None:
    """Cancel a run whose client has left; when Postgres cannot take that now, as soon as it can within PATIENCE_SECS."""
    try:
        async with asyncio.timeout(PATIENCE_SECS):
            await patiently(
                "Postgres", partial(cancellation.cancel, scope, thread_id, run_id, CancelAction.INTERRUPT)
            )
    except TimeoutError:
        log.warning(
            "run %s goes on, though its client has left: Postgres took no cancel for %g s",
            run_id,
            PATIENCE_SECS,
        )
    except TreadleError as error:
        log.info("run %s not cancelled when its client left: %s", run_id, error)
