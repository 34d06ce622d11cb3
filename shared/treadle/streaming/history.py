"""Reading what the Stream of a run has kept."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from treadle.errors import TreadleError
from treadle.streaming.batch import Batch, arrived
from treadle.streaming.connection import answered
from treadle.streaming.event import EventId, stream_key

# A page is what a reader keeps in memory while its client takes it. Redis counts entries, not bytes, so readers begin with one.
FIRST_PAGE_BATCHES = 1
MOST_PAGE_BATCHES = 32
PAGE_BYTES = 64 * 1024
# When Redis comes back all watchers of a process want to read: they take turns.
READS_AT_ONCE = 16

_FIRST = EventId(1, 0)


class EventsLost(TreadleError):
    """Events that a client has not seen yet are no longer kept: its stream cannot go on without a gap."""

    status = 410

    def __init__(self, run_id: str, last_id: EventId | None) -> None:
        super().__init__(
            f"The events of run {run_id} after {last_id or 'its beginning'} are no longer kept: newer "
            "ones have pushed them out. Read the run's result or the thread's state instead; TREADLE_EVENTS_MAX_BATCHES sets how many are kept."
        )
        self.run_id = run_id
        self.last_id = last_id


class Page(msgspec.Struct, frozen=True):
    """Batches in order; the first may begin at or before the id that was asked for."""

    batches: list[Batch]
    complete: bool
    """Nothing came after them when they were read."""

    def next_length(self, length: int) -> int:
        """How many batches the next page should have, after one that was to have `length`."""
        size = sum(batch.size for batch in self.batches)
        if size > PAGE_BYTES:
            return max(1, length * PAGE_BYTES // size)
        return min(length * 2, MOST_PAGE_BATCHES)


class History:
    """The Streams of all runs, for the readers of one process."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._turns = asyncio.Semaphore(READS_AT_ONCE)

    async def after(
        self,
        run_id: str,
        last: EventId | None,
        *,
        from_kept: bool = False,
        length: int = FIRST_PAGE_BATCHES,
    ) -> Page:
        """The batches with what follows `last`, or the first ones.

        Args:
            length: how many batches at the most.
            from_kept: begin with the oldest that is kept, be it the first or not.

        An entry's id is that of its first event, so the entry at or before `last` may hold events after it:
        it is read too. Where it is there, nothing after `last` has been dropped, for the oldest go first.

        Raises:
            EventsLost: the Stream has dropped events after `last`.
            redis.exceptions.RedisError, OSError: Redis is away.
        """
        key = stream_key(run_id)
        async with self._turns, answered():
            pipeline = self._redis.pipeline(transaction=True)  # or events could be dropped between the two
            pipeline.xrevrange(key, str(last or "0-0"), "-", count=1)
            pipeline.xrange(key, "-" if last is None else f"({last}", "+", count=length)
            covering, following = cast("tuple[list[Any], list[Any]]", await pipeline.execute())
            batches = _batches([*covering, *following])
            gap = not covering and batches and not _next(last, batches[0].first)
            if gap and not from_kept and await self._trimmed(key):
                raise EventsLost(run_id, last)
        return Page(batches, complete=len(following) < length)

    async def newest(self, run_id: str) -> Batch | None:
        """The newest batch, if any. Raises as `after` does when Redis is away."""
        async with self._turns, answered():
            entries = cast("list[Any]", await self._redis.xrevrange(stream_key(run_id), count=1))
        return next(iter(_batches(entries)), None)

    async def _trimmed(self, key: str) -> bool:
        """Whether the Stream has dropped entries: not so when Redis has lost them and the Stream began anew."""
        info = await self._redis.xinfo_stream(key)
        return info["entries-added"] != info["length"]


def _next(last: EventId | None, first: EventId) -> bool:
    return first == (_FIRST if last is None else last.next)


def _batches(entries: list[Any]) -> list[Batch]:
    found = (arrived(cast("bytes", fields[b"b"])) for _, fields in entries)
    return [batch for batch in found if batch is not None]
