"""What one watcher of a run sees: the run's events in order, each once, without a gap.

A subscription holds no task. The hub offers it what arrives live; whenever something may be missing it is
*behind*: then it forgets what was offered and reads the Stream after its last id, page by page, before it
takes offers again. Offers are taken from before a page is read, so whatever the page no longer holds is among
them; what is in both is dropped by its id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Any, cast

from treadle import json
from treadle.streaming.batch import Batch
from treadle.streaming.connection import AWAY, Backoff
from treadle.streaming.event import Event, EventId, live_channel
from treadle.streaming.history import FIRST_PAGE_BATCHES, History

log = logging.getLogger(__name__)


class Subscription:
    """Made by `EventHub.watch`; for one consumer."""

    def __init__(
        self,
        history: History,
        run_id: str,
        *,
        after: EventId | None,
        live_only: bool,
        new: bool,
        queue_bytes: Callable[[], int],
    ) -> None:
        self.run_id = run_id
        self.channel = live_channel(run_id)
        self.end: dict[str, Any] | None = None
        self.last_id = after
        self._history = history
        self._live_only = live_only and after is None
        self._joins = after is None and not new
        self._new = new
        self._queue_bytes = queue_bytes
        self._wants_rest = not live_only
        self.queued_bytes = 0
        """What has arrived live and was not taken yet."""
        self._queue: deque[Batch] = deque()
        self._page_length = FIRST_PAGE_BATCHES
        self._behind = False
        self._closing: dict[str, Any] | None = None
        self._closing_by = 0.0
        self._wake = asyncio.Event()
        self._backoff = Backoff(first=0.1, most=2.0)

    # The consumer's side.

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Each event; stops after the run's end.

        Raises:
            EventsLost: the Stream no longer keeps what comes next.
        """
        async for events in self.batches():
            for event in events:
                yield event

    async def batches(self) -> AsyncGenerator[list[Event]]:
        """The same events, as many at a time as there are. Raises as `__aiter__` does."""
        while (events := await self.next_batch()) is not None:
            yield events

    async def next_batch(self) -> list[Event] | None:
        """The next events, at least one; None at the run's end. Cancelling it loses nothing.

        Raises:
            EventsLost: the Stream no longer keeps what comes next.
        """
        while self.end is None:
            if self._behind:
                events = await self._catch_up()
            elif self._queue:
                events = self._take_offers()
            elif self._closing is not None:
                self.end = self._closing
                break
            else:
                await self._woken()
                continue
            if events:
                return events
        return None

    # The hub's side.

    async def begin(self) -> None:
        """Settle what "from now on" means; a Redis that is away is asked again before the first read."""
        if not self._live_only:
            return
        try:
            await self._skip_old()
        except AWAY as error:
            log.debug("run %s: where its events stand is not known yet: %s", self.run_id, error)

    def offer(self, batch: Batch) -> None:
        """A batch has arrived live."""
        if self._behind or self.end is not None:
            return
        if self._queue and self.queued_bytes + batch.size > self._queue_bytes():
            self._fall_behind()
            return
        self._queue.append(batch)
        self.queued_bytes += batch.size
        self._wake.set()

    def subscribed(self) -> None:
        """From here on everything is offered; something may have been missed before."""
        if self._new:
            self._new = False
        else:
            self._fall_behind()

    def unreachable(self) -> None:
        """Redis is away: even a new run may have events by the time it is back."""
        self._new = False

    def close(self, end: dict[str, Any], rest_secs: float) -> None:
        """The run has ended: give what the Stream still has, then end. A Redis that is away is asked again for so long."""
        if self._closing is None:
            self._closing = end
            self._closing_by = time.monotonic() + (rest_secs if self._wants_rest else 0.0)
            self._fall_behind()

    # Between the two.

    async def _woken(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    def _fall_behind(self) -> None:
        self._behind = True
        self._forget_offers()
        self._wake.set()

    def _forget_offers(self) -> None:
        self._queue.clear()
        self.queued_bytes = 0

    async def _catch_up(self) -> list[Event]:
        self._behind = False
        try:
            if self._live_only:
                await self._skip_old()
            return await self._read_page() if self.end is None else []
        except AWAY as error:
            await self._read_failed(error)
            return []
        except BaseException:
            self._fall_behind()
            raise

    async def _skip_old(self) -> None:
        newest = await self._history.newest(self.run_id)
        self._live_only = False
        if newest is not None:
            self._take([newest])

    async def _read_page(self) -> list[Event]:
        page = await self._history.after(
            self.run_id,
            self.last_id,
            from_kept=self._joins and self.last_id is None,
            length=self._page_length,
        )
        self._page_length = page.next_length(self._page_length)
        self._backoff.reset()
        events = self._take(page.batches)
        if events and not page.complete:
            self._fall_behind()
        return events

    async def _read_failed(self, error: Exception) -> None:
        delay = self._backoff.delay()
        if self._closing is not None:
            delay = min(delay, self._closing_by - time.monotonic())
        if delay <= 0:
            return  # the run has ended, and this was the last attempt to read more of it
        log.debug("run %s: its events cannot be read now: %s", self.run_id, error)
        self._fall_behind()
        self._wake.clear()
        try:
            async with asyncio.timeout(delay):
                await self._wake.wait()
        except TimeoutError:
            return

    def _take_offers(self) -> list[Event]:
        batch = self._queue.popleft()
        self.queued_bytes -= batch.size
        if not self._follows(batch.first):
            self._fall_behind()
            return []
        return self._take([batch])

    def _follows(self, first: EventId) -> bool:
        """Whether nothing can be missing between the last event and one that arrives next."""
        return first.n == 0 or (self.last_id is not None and first <= self.last_id.next)

    def _take(self, batches: Iterable[Batch]) -> list[Event]:
        taken: list[Event] = []
        for batch in batches:
            taken += self._fresh(batch)
            if batch.end is not None:
                self._ended(batch.end)
                return [event for event in taken if event is not batch.end]
        return taken

    def _fresh(self, batch: Batch) -> list[Event]:
        last = self.last_id
        if last is not None and batch.last <= last:
            return []
        self.last_id = batch.last
        if last is None or batch.first > last:
            return batch.events
        return [event for event in batch.events if event.id > last]

    def _ended(self, marker: Event) -> None:
        self.end = cast("dict[str, Any]", json.decode(marker.data))
        self._behind = False
        self._forget_offers()
