"""Appending batches to runs' Streams: in one atomic step each, and only for the newest attempt.

The entry's id is the id of the batch's first event, `<attempt>-<n>`, and Redis takes no id that is not above
the Stream's newest. So a worker that was paused and comes back after a takeover is refused by Redis itself,
and since publishing is part of the same script, nobody hears of what was refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from hashlib import sha1
from typing import Any, Self
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from treadle.streaming import batch
from treadle.streaming.connection import answered
from treadle.streaming.event import EventId, live_channel, stream_key
from treadle.streaming.limits import StreamLimits

# Append, bound, let expire and publish a batch. Answers nil, or the Stream's newest id where that is not
# older. KEYS: stream. ARGV: entry id, payload, batches kept, milliseconds kept, channels.
SCRIPT = """
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], ARGV[1], 'b', ARGV[2])
if type(added) == 'table' and added.err then
  if not string.find(added.err, 'equal or smaller', 1, true) then return added end
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
for i = 5, #ARGV do redis.call('PUBLISH', ARGV[i], ARGV[2]) end
return false
"""
_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Entry(msgspec.Struct, frozen=True):
    """A batch on its way into the Stream of its run."""

    run_id: UUID | str
    id: EventId
    payload: bytes
    max_batches: int
    ttl_ms: int
    thread: str | None = None
    """The channel of the thread that is told of this batch too."""

    @classmethod
    def of(
        cls,
        run_id: UUID | str,
        attempt: int,
        events: list[batch.Numbered],
        limits: StreamLimits,
        *,
        base: int = 0,
        thread: str | None = None,
    ) -> Self:
        """The entry with these events; the end marker among them shortens how long the run's Stream is kept.

        Args:
            base: the place of the attempt's event 0.
            thread: the channel of the run's thread; those who follow it are told when an attempt begins.
        """
        ended = events[-1][1] == batch.END
        return cls(
            run_id=run_id,
            id=EventId(attempt, events[0][0]),
            payload=batch.encode(attempt, events, base),
            max_batches=limits.max_batches,
            ttl_ms=int(1000 * (limits.ended_ttl_secs if ended else limits.ttl_secs)),
            thread=thread if events[0][0] == 0 else None,
        )

    @property
    def channels(self) -> list[str]:
        return [live_channel(self.run_id), *([] if self.thread is None else [self.thread])]


class Outcome(Enum):
    WRITTEN = "written"
    FENCED = "fenced"
    FAILED = "failed"


async def append(redis: Redis, entries: Sequence[Entry]) -> list[Outcome]:
    """Append entries of different runs in one round trip, and say of each what became of it.

    Sending an entry again after a lost answer is safe: where it had arrived it counts as written.

    Raises:
        redis.exceptions.RedisError, OSError: Redis is away; what became of the entries is not known.
    """
    async with answered():
        replies = await _send(redis, entries)
        if unknown := [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]:
            await redis.script_load(SCRIPT)
            for i, reply in zip(unknown, await _send(redis, [entries[i] for i in unknown]), strict=True):
                replies[i] = reply
    return [_outcome(entry, reply) for entry, reply in zip(entries, replies, strict=True)]


async def _send(redis: Redis, entries: Sequence[Entry]) -> list[Any]:
    pipeline = redis.pipeline(transaction=False)
    for entry in entries:
        kept = (entry.max_batches, entry.ttl_ms)
        pipeline.evalsha(
            _SHA, 1, stream_key(entry.run_id), str(entry.id), entry.payload, *kept, *entry.channels
        )
    return await pipeline.execute(raise_on_error=False)


def _outcome(entry: Entry, reply: Any) -> Outcome:
    if reply is None:
        return Outcome.WRITTEN
    if not isinstance(reply, bytes):
        return Outcome.FAILED
    attempt, _, _ = reply.partition(b"-")
    # The newest entry is of this attempt: it is this very entry, whose first answer was lost.
    return Outcome.WRITTEN if int(attempt) == entry.id.attempt else Outcome.FENCED
