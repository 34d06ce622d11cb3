"""Removing threads and runs, be they at rest or in work."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal
from uuid import UUID

from treadle.checkpoint.pruning import Pruned, Pruning
from treadle.db.pool import postgres_errors
from treadle.db.runs import Runs
from treadle.db.scope import Scope
from treadle.db.threads import Threads
from treadle.errors import NotFound
from treadle.model import CancelAction
from treadle.operations.cancel import Cancellation
from treadle.operations.missing import no_run, no_thread
from treadle_api.operations.results import Results

# Whoever watches the runs beyond these learns of their end from Postgres, a little later.
AT_ONCE = 100


class Removal:
    """Removes what clients want gone."""

    def __init__(
        self, threads: Threads, runs: Runs, cancellation: Cancellation, results: Results, pruning: Pruning
    ) -> None:
        self._threads = threads
        self._runs = runs
        self._pruning = pruning
        self._cancellation = cancellation
        self._results = results

    async def thread(self, scope: Scope, thread_id: UUID) -> None:
        """Remove a thread with all that it owns. A worker that has a run of it can write nothing more.

        Raises:
            NotFound: there is no such thread.
        """
        if not await self.threads(scope, [thread_id]):
            raise no_thread(thread_id)

    async def threads(self, scope: Scope, thread_ids: Sequence[UUID]) -> int:
        """Remove threads as one is removed; returns how many were there."""
        with postgres_errors("removing threads"):
            active = await self._runs.active(scope, thread_ids, AT_ONCE)
            removed = await self._threads.delete(scope, thread_ids)
        for run in active:
            await self._cancellation.announce_removal(run)
        return len(removed)

    async def prune(self, scope: Scope, thread_ids: Sequence[UUID]) -> int:
        """Remove all checkpoints but the newest; returns of how many threads. Those that cannot be pruned stay."""
        with postgres_errors("pruning threads"):
            each = [
                await self._pruning.keep_latest(scope, thread_id) for thread_id in dict.fromkeys(thread_ids)
            ]
        return each.count(Pruned.DONE)

    async def run(self, scope: Scope, thread_id: UUID, run_id: UUID) -> None:
        """Remove a run and its checkpoints; one that is on is rolled back first.

        Raises:
            NotFound: there is no such run.
        """
        outcome = await self._delete(scope, thread_id, run_id)
        if outcome == "not_found":
            raise no_run(thread_id, run_id)
        while outcome == "active":
            with suppress(NotFound):  # it has ended in between, and stands
                await self._cancellation.cancel(scope, thread_id, run_id, CancelAction.ROLLBACK)
            await self._results.join(thread_id, run_id)
            outcome = await self._delete(scope, thread_id, run_id)

    async def _delete(
        self, scope: Scope, thread_id: UUID, run_id: UUID
    ) -> Literal["deleted", "active", "not_found"]:
        with postgres_errors("removing a run"):
            return await self._runs.delete(scope, thread_id, run_id)
