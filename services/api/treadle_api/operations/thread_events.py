"""All that happens on a thread: the events of its runs, present and future, one run after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from treadle.db.pool import postgres_errors
from treadle.db.runs import BegunRun, Runs
from treadle.db.scope import EVERYWHERE, Scope
from treadle.db.threads import Threads
from treadle.errors import Unavailable
from treadle.model import DEFAULT_TENANT, ROLLED_BACK, Run
from treadle.streaming import Event, EventHub, EventsLost, StreamLimits, Subscription, place_of
from treadle_api.ends import Ends
from treadle_api.stirrings import Stirrings

log = logging.getLogger(__name__)

# A worker publishes a run's last events within two seconds of its end.
SETTLED_SECS = 5.0
# Postgres is away: a follower looks again after this long.
AGAIN_SECS = 1.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RunEvents(msgspec.Struct, frozen=True):
    """Events of a run, at least one, in the order of their places; `place` is the last one's."""

    run: Run
    place: int
    events: list[Event]


class EventsMissing(msgspec.Struct, frozen=True):
    """Events of a run that the client has not seen are no longer kept; those after them follow."""

    run: Run
    place: int
    error: EventsLost


class RunDone(msgspec.Struct, frozen=True):
    """A run is over, and all that is kept of it was told.

    `run` is as it was when it began if nothing is left of it; `asks`: it stopped to ask, and can be resumed; `error` is what
    Redis did not tell of how it ended.
    """

    run: Run
    place: int
    status: str
    asks: bool = False
    error: Any = None


class StateChanged(msgspec.Struct, frozen=True):
    """Somebody has changed the thread's state from outside; `data` is JSON. It is told live only."""

    place: int
    data: bytes


Happening = RunEvents | EventsMissing | RunDone | StateChanged


class ThreadEvents:
    """Follows threads for clients that may see them, over the runs of each.

    Subscribe first, then read: a follower hears when a run begins, and only then asks Postgres which runs there
    are. It follows them in the order in which they began, each to its end, and asks again after the last of them.
    """

    def __init__(
        self,
        hub: EventHub,
        runs: Runs,
        threads: Threads,
        ends: Ends,
        stirrings: Stirrings,
        limits: StreamLimits,
    ) -> None:
        self._hub = hub
        self._threads = threads
        self._runs = runs
        self._ends = ends
        self._stirrings = stirrings
        self._kept_for = timedelta(seconds=limits.ended_ttl_secs)

    async def follow(self, scope: Scope, thread_id: UUID, after: int | None) -> AsyncGenerator[Happening]:
        """What happens on a thread after a place, for ever; the thread need not exist yet.

        Args:
            scope: where the thread has to be, also if it comes later.
            after: the last place that the client has seen; None: the runs that are on now, from their beginning,
                and what comes after them; 0: all that is kept.
        """
        async with self._hub.hear(thread_id, scope.tenant or DEFAULT_TENANT) as news:
            with self._stirrings.telling(thread_id, news):
                seen = after or 0
                ended_after = await self._first_end(after)
                while True:
                    runs = await self._begun(scope, thread_id, ended_after)
                    for begun in runs:
                        async with aclosing(self._run(begun, seen, resumed=bool(after))) as happenings:
                            async for happening in happenings:
                                yield happening
                                seen = happening.place
                        ended_after = max(ended_after, _moment(seen), begun.run.ended_at or ended_after)
                    if not runs:
                        await news.wait()
                        for data in await self._visible(scope, thread_id, news.states()):
                            yield StateChanged(seen, data)

    async def _first_end(self, after: int | None) -> datetime:
        """Runs that had ended by then are none of the follower's business."""
        if after:
            return _moment(after)
        with postgres_errors("reading the clock"):
            now = await self._runs.clock()
        return now if after is None else now - self._kept_for

    async def _begun(self, scope: Scope, thread_id: UUID, ended_after: datetime) -> list[BegunRun]:
        while True:
            try:
                with postgres_errors("reading the runs of a thread"):
                    return await self._runs.begun(scope, thread_id, ended_after, SETTLED_SECS)
            except Unavailable as error:
                log.warning("%s", error)
                await asyncio.sleep(AGAIN_SECS)

    async def _visible(self, scope: Scope, thread_id: UUID, states: list[bytes]) -> list[bytes]:
        """What a follower may know of changed states: the thread may have come since, or come anew, as somebody else's."""
        while states:
            try:
                with postgres_errors("looking whose a thread is"):
                    return states if await self._threads.is_within(scope, thread_id) else []
            except Unavailable as error:
                log.warning("%s", error)
                await asyncio.sleep(AGAIN_SECS)
        return states

    async def _run(self, begun: BegunRun, seen: int, *, resumed: bool) -> AsyncGenerator[Happening]:
        """What follows a place in one run, until the run is over."""
        run, place, looked = begun.run, seen, False
        while True:
            try:
                async with self._source(begun) as source:
                    while (events := await source.next_batch()) is not None:
                        if not looked and _gap(run, seen, events[0]):
                            yield EventsMissing(run, place, EventsLost(str(run.run_id), None))
                        looked = True
                        if fresh := [event for event in events if event.place > place]:
                            place = fresh[-1].place
                            yield RunEvents(run, place, fresh)
                break
            except EventsLost as error:
                yield EventsMissing(run, place, error)
        if looked or resumed or not begun.settled:
            yield await self._done(run, source.end or {}, place)

    @asynccontextmanager
    async def _source(self, begun: BegunRun) -> AsyncGenerator[Subscription]:
        run_id = begun.run.run_id
        if begun.settled:
            yield self._hub.kept(run_id, {"status": begun.run.status, "known_by": "postgres"})
            return
        with self._ends.watching(run_id):
            async with self._hub.watch(run_id) as subscription:
                yield subscription

    async def _done(self, run: Run, end: dict[str, Any], place: int) -> RunDone:
        ended = await self._read(run)
        if ended is None:
            return RunDone(run, place + 1, ROLLED_BACK)
        place = max(place + 1, 0 if ended.ended_at is None else place_of(ended.ended_at))
        untold = "known_by" in end and ended.status != "interrupted"
        return RunDone(ended, place, ended.status, _asks(ended, end), ended.error if untold else None)

    async def _read(self, run: Run) -> Run | None:
        while True:
            try:
                with postgres_errors("reading how a run ended"):
                    return await self._runs.get(EVERYWHERE, run.thread_id, run.run_id, gone=True)
            except Unavailable as error:
                log.warning("%s", error)
                await asyncio.sleep(AGAIN_SECS)


def _moment(place: int) -> datetime:
    return _EPOCH + timedelta(microseconds=place)


def _asks(run: Run, end: dict[str, Any]) -> bool:
    """The worker says so in its end marker; where that is lost the output knows of questions."""
    if "resting" in end:
        return end["resting"] == "interrupted"
    return isinstance(run.output, dict) and "__interrupt__" in run.output


def _gap(run: Run, seen: int, oldest: Event) -> bool:
    """Whether a client that has seen a part of this run misses something before the oldest event that is kept."""
    began = run.started_at is not None and seen >= place_of(run.started_at)
    return began and oldest.id.n > 0 and oldest.place > seen + 1
