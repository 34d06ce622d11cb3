"""What is still there when all is over."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence


def nothing_is_left(evidence: Evidence) -> Iterator[Found]:
    """No lease, no message in NATS, no key without an end in Redis, no orphan, no row in an outbox, no process."""
    for what, rows in evidence.left.items():
        if rows:
            yield Found(f"{len(rows)} {what}: {'; '.join(rows[:3])}")
