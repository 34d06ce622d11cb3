"""The end of a run that no worker has: cancelled before it began, or given up after too many attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from treadle import json
from treadle.errors import Unavailable
from treadle.streaming import batch
from treadle.streaming.append import Entry, Outcome, append
from treadle.streaming.connection import AWAY
from treadle.streaming.limits import StreamLimits


async def publish_end(
    redis: Redis,
    run_id: UUID | str,
    attempt: int,
    end: dict[str, Any],
    limits: StreamLimits | None = None,
    *,
    events: Sequence[tuple[str, bytes]] = (),
) -> None:
    """Tell all who watch the run that it has ended, after `events` (name and encoded JSON), if any.

    Call it after the outcome is committed, with the run's attempt + 1: the attempt that will never be. That
    orders the end after all that was written, and fences whoever still writes.

    Raises:
        Unavailable: Redis cannot be reached; those who watch learn the end from Postgres.
    """
    named = [*events, (batch.END, json.encode(end))]
    numbered = [(n, name, data) for n, (name, data) in enumerate(named)]
    entry = Entry.of(run_id, attempt, numbered, limits or StreamLimits())
    try:
        [outcome] = await append(redis, [entry])
    except AWAY as error:
        raise Unavailable(_lost(run_id, str(error) or type(error).__name__)) from error
    if outcome is Outcome.FAILED:
        raise Unavailable(_lost(run_id, "Redis refuses to take it"))


def _lost(run_id: UUID | str, why: str) -> str:
    return (
        f"The end of run {run_id} could not be announced over Redis: {why}. The run itself has ended; "
        "clients that watch it learn that from Postgres, a little later."
    )
