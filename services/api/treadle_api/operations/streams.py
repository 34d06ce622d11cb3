"""A run's events as they reach one client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from uuid import UUID

from treadle import json
from treadle.db.pool import postgres_errors
from treadle.db.runs import Runs
from treadle.db.scope import EVERYWHERE
from treadle.streaming import Event, EventHub, EventId, EventsLost, Subscription, encode, frames
from treadle.telemetry.metrics import Metrics
from treadle_api.ends import Ends
from treadle_api.modes import OnlyModes


class Streams:
    """Follows runs for clients that have made them, or found them within their scope."""

    def __init__(
        self, hub: EventHub, runs: Runs, ends: Ends, metrics: Metrics, heartbeat_secs: float
    ) -> None:
        self._hub = hub
        self._runs = runs
        self._ends = ends
        self._metrics = metrics
        self._heartbeat_secs = heartbeat_secs

    @asynccontextmanager
    async def watch_new(self, run_id: UUID) -> AsyncGenerator[Subscription]:
        """Watch a run that is about to be created, so that nothing of it can be missed."""
        async with self._hub.watch(run_id, new=True) as subscription:
            yield subscription

    @asynccontextmanager
    async def watch(self, run_id: UUID, after: EventId | None) -> AsyncGenerator[Subscription]:
        """Watch a run from where the client left it, or from its beginning."""
        async with self._hub.watch(run_id, after) as subscription:
            yield subscription

    async def frames(
        self, subscription: Subscription, thread_id: UUID, run_id: UUID, modes: Collection[str] | None = None
    ) -> AsyncGenerator[bytes]:
        """Server-sent events until the run ends; what can no longer be told is told as an error."""
        source = OnlyModes(subscription, modes) if modes else subscription
        self._metrics.stream_clients.inc()
        try:
            with self._ends.watching(run_id):
                async for frame in frames(source, self._heartbeat_secs):
                    yield frame
            if (untold := await self._untold(subscription, thread_id, run_id)) is not None:
                yield untold
        except EventsLost as error:
            yield _error(subscription.last_id, {"error": "EventsLost", "message": str(error)})
        finally:
            self._metrics.stream_clients.dec()

    async def _untold(self, subscription: Subscription, thread_id: UUID, run_id: UUID) -> bytes | None:
        """The error of a run whose end Redis did not tell, so that no failure looks like a success."""
        if subscription.end is None or "known_by" not in subscription.end:
            return None
        with postgres_errors("reading how a run ended"):
            run = await self._runs.get(EVERYWHERE, thread_id, run_id, gone=True)
        if run is None or run.error is None or run.status == "interrupted":
            return None
        return _error(subscription.last_id, run.error)


def _error(last: EventId | None, error: object) -> bytes:
    return encode(Event(last or EventId(0, 0), "error", json.encode(error)), with_id=False)
