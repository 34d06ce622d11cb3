"""Runs that are made and followed to their end inside this process, for the protocols of other agents."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from treadle import json
from treadle.model import Run
from treadle.operations.asking import Asking
from treadle.operations.create import Creation
from treadle.operations.ids import new_id
from treadle.streaming import Event, EventsLost, Subscription
from treadle.wire.runs import NewRun
from treadle_api.ends import Ends
from treadle_api.operations.results import Results
from treadle_api.operations.streams import Streams


class Followed:
    """A run, and what comes of it."""

    def __init__(self, run: Run, subscription: Subscription, ends: Ends, results: Results) -> None:
        self.run = run
        self._subscription = subscription
        self._ends = ends
        self._results = results

    async def events(self) -> AsyncGenerator[Event]:
        """What the run tells until it ends, or until there is something that can no longer be read."""
        try:
            with self._ends.watching(self.run.run_id):
                while (events := await self._subscription.next_batch()) is not None:
                    for event in events:
                        yield event
        except EventsLost:
            return

    async def result(self) -> Any:
        """What `wait` would answer, once the run has ended: values, `__interrupt__` or `__error__`."""
        return json.decode(await self._results.join(self.run.thread_id, self.run.run_id))


class Following:
    """Makes runs and follows them."""

    def __init__(self, creation: Creation, streams: Streams, results: Results, ends: Ends) -> None:
        self._creation = creation
        self._streams = streams
        self._results = results
        self._ends = ends

    @asynccontextmanager
    async def begin(
        self,
        asking: Asking,
        thread_id: UUID,
        body: NewRun,
        *,
        stateless: bool,
        run_id: UUID | None = None,
        asked_by: UUID | None = None,
    ) -> AsyncGenerator[Followed]:
        """Create a run that is watched from before its first event. Takes and raises what `Creation.create` does."""
        run_id = run_id or new_id()
        async with self._streams.watch_new(run_id) as subscription:
            run = await self._creation.create(
                asking, run_id, thread_id, body, stateless=stateless, asked_by=asked_by
            )
            yield Followed(run, subscription, self._ends, self._results)

    @asynccontextmanager
    async def join(self, run: Run) -> AsyncGenerator[Followed]:
        """Follow a run that there is already, from the first of its events that is kept."""
        async with self._streams.watch(run.run_id, None) as subscription:
            yield Followed(run, subscription, self._ends, self._results)
