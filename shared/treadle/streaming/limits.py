"""How much of a run's events is kept, and for how long."""

from __future__ import annotations

import msgspec

from treadle.settings import Settings

ENDED_TTL_SECS = 600.0


class StreamLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a run's stream in Redis and of its buffer in the worker."""

    ttl_secs: float = 3600
    """How long events stay readable after the last one, while the run goes on."""

    ended_ttl_secs: float = ENDED_TTL_SECS
    """How long they stay readable after the run has ended."""

    max_batches: int = 20_000
    """Batches kept per run; Redis drops older ones, a little later than it could."""

    buffer_bytes: int = 8 * 1024 * 1024
    """What a writer keeps while Redis is away, and one event more; then new ones are dropped and counted."""

    backlog_bytes: int = 1024 * 1024
    """Waiting bytes above which `EventWriter.ready` lets the producer wait for Redis."""

    close_secs: float = 2
    """How long `EventWriter.close` waits for Redis."""

    @classmethod
    def of(cls, settings: Settings) -> StreamLimits:
        ttl = settings.treadle_events_ttl_secs
        return cls(
            ttl_secs=ttl,
            ended_ttl_secs=min(ttl, ENDED_TTL_SECS),
            max_batches=settings.treadle_events_max_batches,
        )
