"""The result of a run, for those who wait for it."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from treadle import json
from treadle.db.pool import postgres_errors
from treadle.db.runs import Runs
from treadle.db.scope import EVERYWHERE
from treadle.db.threads import Threads
from treadle.model import Run
from treadle.patience import Reminder, patiently
from treadle.streaming import EventHub, EventsLost, Subscription
from treadle_api.ends import Ends

ROLLED_BACK = json.encode(
    {
        "__error__": {
            "error": "UserRollback",
            "message": "the run was rolled back or removed while it was waited for",
        }
    }
)


class Results:
    """Waits for runs to end, and reads from Postgres how they did.

    Whoever waits has made the run, or has found it within its scope: nobody is asked again.
    """

    def __init__(self, runs: Runs, threads: Threads, hub: EventHub, ends: Ends) -> None:
        self._runs = runs
        self._threads = threads
        self._hub = hub
        self._ends = ends
        self._reminder = Reminder("Postgres, for the results of runs")

    async def join(self, thread_id: UUID, run_id: UUID) -> bytes:
        """The result of a run, as JSON, once it has ended. Works without Redis, a little later.

        It is the values of the thread as the run left them, or `__error__` with what went wrong. While Postgres cannot tell,
        it is waited for: an error would be taken for the run's, and what the run did be asked for again.
        """
        with self._ends.watching(run_id):
            while True:
                result = await patiently(self._reminder, partial(self._read, thread_id, run_id))
                if result is not None:
                    return result
                async with self._hub.watch(run_id, live_only=True) as subscription:
                    result = await _told(subscription)
                if result is not None:
                    return result

    async def after(self, subscription: Subscription, thread_id: UUID, run_id: UUID) -> bytes:
        """The same for a run that is watched already, since before it began."""
        with self._ends.watching(run_id):
            result = await _told(subscription)
        return await self.join(thread_id, run_id) if result is None else result

    async def _read(self, thread_id: UUID, run_id: UUID) -> bytes | None:
        """None while the run goes on."""
        with postgres_errors("reading the result of a run"):
            run = await self._runs.get(EVERYWHERE, thread_id, run_id, gone=True)
            if run is None:
                return ROLLED_BACK
            if not run.status.terminal:
                return None
            return _result(run) or await self._values(thread_id)

    async def _values(self, thread_id: UUID) -> bytes:
        """A run that was cancelled before it began leaves the thread's values as they were."""
        thread = await self._threads.get(EVERYWHERE, thread_id)
        return json.encode({} if thread is None else thread.values or {})


async def _told(subscription: Subscription) -> bytes | None:
    """Pass over everything until the run's end, or until there is something that can no longer be read.

    Returns the result, where the worker told it with the end: it did so after it had committed it.
    """
    try:
        while await subscription.next_batch() is not None:
            continue
    except EventsLost:
        return None
    end = subscription.end or {}
    return json.encode(end["output"]) if "output" in end else None


def _result(run: Run) -> bytes | None:
    if run.output is not None:
        return json.encode(run.output)
    return None if run.error is None or run.status == "interrupted" else json.encode({"__error__": run.error})
