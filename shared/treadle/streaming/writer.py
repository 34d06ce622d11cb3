"""The stream of one attempt of a run, as the worker writes it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, NamedTuple
from uuid import UUID

from treadle import json
from treadle.errors import Fenced
from treadle.streaming import batch
from treadle.streaming.append import Entry, Outcome
from treadle.streaming.limits import StreamLimits

log = logging.getLogger(__name__)

BATCH_EVENTS = 256
BATCH_BYTES = 64 * 1024
# So many events there are when the first one has come that says more than that the attempt has begun.
FIRST_TOLD = 2


class _Cut(NamedTuple):
    """A batch on its way: what it takes in the buffer, and how many events it has."""

    entry: Entry
    size: int
    events: int


class EventWriter:
    """Numbers events and keeps them until the publisher takes them; made by `EventPublisher.writer`.

    `write`, `ready` and `close` may be called from any thread and any event loop, so a graph may run apart
    from the loop that publishes. Events that Redis cannot take are dropped before they get a number, so ids
    have no gaps, and `dropped` counts them.
    """

    def __init__(
        self,
        run_id: UUID | str,
        attempt: int,
        *,
        thread: str | None,
        base: int,
        lease_valid: Callable[[], bool],
        limits: StreamLimits,
        enlist: Callable[[EventWriter], None],
        away_secs: Callable[[], float],
    ) -> None:
        self.run_id = run_id
        self.attempt = attempt
        self._thread = thread
        self._base = base
        self.fenced = False
        self.published = 0
        self.dropped = 0
        self.flush_at = 0.0
        self._lease_valid = lease_valid
        self._limits = limits
        self._enlist = enlist
        self._away_secs = away_secs
        self._lock = Lock()
        self._next = 0
        self._buffer: deque[batch.Numbered] = deque()
        self._bytes = 0
        self._sending: _Cut | None = None
        self._enlisted = False
        self._closed = False
        self._overtaken = False
        self._waiters: list[Future[None]] = []
        self._flushed: Future[None] | None = None

    # The worker's side.

    def write(self, event: str, data: bytes) -> None:
        """Take one event; `data` is encoded JSON. The first of an attempt must be `metadata`.

        Raises:
            Fenced: the lease is over, a newer attempt has written, or the writer is closed: stop the run.
        """
        with self._lock:
            if self.fenced or self._closed:
                raise self._refusal()
            if self._full():
                self._drop()
                return
            self._put(event, data)
            follows = self._next == FIRST_TOLD
            if follows:
                self.flush_at = 0.0
            wake, self._enlisted = follows or not self._enlisted, True
        if wake:
            self._enlist(self)

    async def ready(self) -> None:
        """Wait while too much waits for Redis; not when Redis is away, for runs go on without it.

        Raises:
            Fenced: as for `write`.
        """
        if self._bytes > self._limits.backlog_bytes and not self._away_secs():
            waiter: Future[None] = Future()
            with self._lock:
                self._waiters.append(waiter)
            if not self._bytes or self._away_secs():  # both may have come true before the waiter was seen
                self.release()
            await asyncio.wrap_future(waiter)
        if self.fenced:
            raise self._refusal()

    async def close(self, end: dict[str, Any] | None) -> None:
        """Send what is left, then the end marker with `end` as its payload; None: the run goes on elsewhere.

        Give `end` only after the outcome is committed: that proves that no newer attempt exists, so the lease
        is not asked any more, and what it held back is sent after all. Never raises. A Redis that is away is waited for `close_secs`, counted from when it
        went: during a long outage runs end without waiting.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if end is not None and not self._overtaken:
                self._lease_valid = _always
                self.fenced = False
                self._put(batch.END, json.encode(end))
            if not self._bytes:
                return
            flushed: Future[None] | None = None if self.fenced else Future()
            self._flushed = flushed
            self._enlisted = flushed is not None
            self.flush_at = 0.0
        if flushed is None:
            self._discard()
            return
        self._enlist(self)
        try:
            async with asyncio.timeout(max(0.0, self._limits.close_secs - self._away_secs())):
                await asyncio.wrap_future(flushed)
        except TimeoutError:
            log.info("run %s: Redis is away, its last live events are lost", self.run_id)
        finally:
            self._discard()

    # The publisher's side: these run on its loop only.

    def cut(self) -> Entry | None:
        """The next batch to send; the same one again until its outcome is known; None when there is none.

        Once the lease is over by this process's clock none is sent, and what waits is held back: whether a newer attempt
        exists only the database knows.
        """
        with self._lock:
            over = not self.fenced and not self._lease_valid()
            self.fenced |= over
            if not self.fenced and self._sending is None and self._buffer:
                self._sending = self._cut()
            entry = self._sending.entry if self._sending and not self.fenced else None
            self._enlisted = entry is not None
        if over:
            self.release()
        return entry

    def settle(self, outcome: Outcome) -> None:
        """Take note of what became of the batch that was cut last."""
        if outcome is Outcome.FENCED:
            self._fence()
        elif outcome is Outcome.WRITTEN:
            self._sent()

    @property
    def opening(self) -> bool:
        """Whether nothing but that the attempt has begun was written yet, and that waits to be sent."""
        return self._next < FIRST_TOLD and self._sending is None

    @property
    def backlogged(self) -> bool:
        """Whether a full batch waits, so that waiting for more events gains nothing."""
        return len(self._buffer) >= BATCH_EVENTS or self._bytes >= BATCH_BYTES

    def release(self) -> None:
        """Let those go on who wait in `ready`."""
        with self._lock:
            waiters, self._waiters = self._waiters, []
        _resolve(waiters)

    def _put(self, event: str, data: bytes) -> None:
        self._buffer.append((self._next, event, data))
        self._next += 1
        self._bytes += len(data) + batch.EVENT_OVERHEAD_BYTES

    def _full(self) -> bool:
        """By what waits already: an event of many megabytes that comes behind a small one is no flood."""
        return self._bytes >= self._limits.buffer_bytes

    def _drop(self) -> None:
        if not self.dropped:
            log.warning("run %s: Redis does not take its live events; newer ones are dropped", self.run_id)
        self.dropped += 1

    def _cut(self) -> _Cut:
        events: list[batch.Numbered] = []
        size = 0
        while self._buffer and len(events) < BATCH_EVENTS and size < BATCH_BYTES:
            event = self._buffer.popleft()
            events.append(event)
            size += len(event[2]) + batch.EVENT_OVERHEAD_BYTES
        entry = Entry.of(
            self.run_id, self.attempt, events, self._limits, base=self._base, thread=self._thread
        )
        return _Cut(entry, size, len(events))

    def _sent(self) -> None:
        with self._lock:
            if self._sending is None:
                return
            self._bytes -= self._sending.size
            self.published += self._sending.events
            self._sending = None
        if self._bytes <= self._limits.backlog_bytes:
            self.release()
        if not self._bytes:
            self._release_close()

    def _fence(self) -> None:
        """A newer attempt has written."""
        self.fenced = self._overtaken = True
        self._discard()

    def _discard(self) -> None:
        with self._lock:
            self.dropped += len(self._buffer) + (self._sending.events if self._sending else 0)
            self._buffer.clear()
            self._bytes = 0
            self._sending = None
        self.release()
        self._release_close()

    def _release_close(self) -> None:
        with self._lock:
            flushed, self._flushed = self._flushed, None
        if flushed is not None:
            _resolve([flushed])

    def _refusal(self) -> Fenced:
        why = (
            "its lease is over or a newer attempt has begun"
            if self.fenced
            else "this attempt's stream is closed"
        )
        return Fenced(
            f"Attempt {self.attempt} of run {self.run_id} may write no more events: {why}. Stop the attempt; "
            "its events so far stay readable."
        )


def _always() -> bool:
    return True


def _resolve(futures: list[Future[None]]) -> None:
    for future in futures:
        if future.set_running_or_notify_cancel():
            future.set_result(None)
