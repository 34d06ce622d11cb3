"""Names on the bus: streams, consumers and subjects."""

from __future__ import annotations

from uuid import UUID

# The stream of wake-ups. A message is gone once it is acknowledged.
RUNS_STREAM = "TREADLE_RUNS"
RUNS_SUBJECTS = "treadle.runs.>"


def wakeup_subject(route: str, thread_id: UUID) -> str:
    """Where the wake-ups of a thread are published: one token for the route, one for the thread."""
    return f"treadle.runs.{route}.{thread_id}"


def route_filter(route: str) -> str:
    """All wake-ups of a route."""
    return f"treadle.runs.{route}.*"


def route_consumer(route: str) -> str:
    """The durable consumer that the workers of a route share."""
    return f"workers-{route}"
