"""A run in a worker's hands, as the thread that keeps its lease sees it."""

from __future__ import annotations

from dataclasses import dataclass

from treadle_worker.active import ActiveRun


@dataclass
class Held:
    """A lease in hand. Times are this process's own monotonic clock.

    Attributes:
        ack_subject: of the message that covers the run's thread; None: that is somebody else's.
        until: the end of the lease.
        claimed_at: read before the claim was sent.
    """

    active: ActiveRun
    ack_subject: str | None
    until: float
    claimed_at: float
