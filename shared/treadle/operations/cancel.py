"""Cancelling: written to the row first, then signalled."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from uuid import UUID

import redis.asyncio

from treadle.db.pool import postgres_errors
from treadle.db.runs import CancelledRun, Runs
from treadle.db.scope import Scope
from treadle.errors import NotFound, Unavailable
from treadle.model import ROLLED_BACK, CancelAction, MultitaskStrategy, Run, RunStatus
from treadle.streaming import CancelBus, StreamLimits, publish_end

log = logging.getLogger(__name__)

ACTIVE = frozenset({RunStatus.PENDING, RunStatus.RUNNING})


class Cancellation:
    """Cancels runs, and tells who must know of it."""

    def __init__(self, runs: Runs, redis: redis.asyncio.Redis, limits: StreamLimits) -> None:
        self._runs = runs
        self._redis = redis
        self._bus = CancelBus(redis)
        self._limits = limits

    async def cancel(self, scope: Scope, thread_id: UUID, run_id: UUID, action: CancelAction) -> None:
        """Cancel a run: one that waits ends here, one that is on is stopped by its worker.

        Raises:
            NotFound: there is no such run, or it has ended.
        """
        with postgres_errors("cancelling a run"):
            cancelled = await self._runs.cancel(scope, thread_id, run_id, action)
        if cancelled.outcome == "not_found":
            raise NotFound(f"No runs found to cancel: thread {thread_id} has no run {run_id}.")
        if cancelled.outcome == "finished":
            raise NotFound(f"No matching runs to cancel: run {run_id} has ended already.")
        await self.announce(cancelled, action)

    async def cancel_some(
        self, scope: Scope, thread_id: UUID, run_ids: Sequence[UUID], action: CancelAction
    ) -> None:
        """Cancel those of these runs that have not ended.

        Raises:
            NotFound: there is none.
        """
        with postgres_errors("cancelling runs"):
            cancelled = await self._runs.cancel_some(scope, thread_id, ACTIVE, action, run_ids)
        if not cancelled:
            raise NotFound(
                f"No runs found to cancel: none of those named is pending or running on thread {thread_id}."
            )
        for run in cancelled:
            await self.announce(run, action)

    async def cancel_all(self, scope: Scope, statuses: Collection[RunStatus], action: CancelAction) -> None:
        """Cancel all runs that have one of the statuses, thread after thread.

        Raises:
            NotFound: there is none.
        """
        found = False
        with postgres_errors("cancelling runs"):
            for thread_id in await self._runs.threads_with(scope, statuses):
                for run in await self._runs.cancel_some(scope, thread_id, statuses, action):
                    found = True
                    await self.announce(run, action)
        if not found:
            raise NotFound(f"No runs found to cancel: none is {' or '.join(sorted(statuses))}.")

    async def announce_removal(self, run: Run) -> None:
        """A run's row is gone: its worker can write nothing more, and should stop; whoever watches it is told."""
        if run.status is RunStatus.RUNNING:
            await self.announce(CancelledRun(run.run_id, "signalled", run.status), CancelAction.ROLLBACK)
        ended = CancelledRun(run.run_id, "ended", ROLLED_BACK, run.attempt)
        await self.announce(ended, CancelAction.ROLLBACK)

    async def announce(self, cancelled: CancelledRun, action: CancelAction | MultitaskStrategy) -> None:
        """Tell the worker, or those who watch a run that never began. The row stands if Redis is away."""
        try:
            if cancelled.outcome == "signalled":
                await self._bus.publish(cancelled.run_id, CancelAction(action.value))
            elif cancelled.outcome == "ended":
                status = cancelled.status or RunStatus.INTERRUPTED.value
                attempt = cancelled.attempt + 1
                await publish_end(self._redis, cancelled.run_id, attempt, {"status": status}, self._limits)
        except Unavailable as error:
            log.info("cancel of run %s not signalled, its worker reads it: %s", cancelled.run_id, error)
