"""Runs that go back again and again, since something that their nodes need was away each time, though Postgres answers.

A server that restarts is no run's fault: it goes back, and on from where it is. But what is away for good, or is only taken for
away (a statement that no server would answer in time), would have its nodes repeated for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

# With pauses that grow, these are some minutes on each worker.
MOST_TIMES = 20
LONGEST_PAUSE_SECS = 15.0
# Runs that are kept in mind.
MOST_RUNS = 1000


class TurnedAway:
    """How often in a row each run was handed back by this worker at the same checkpoint."""

    def __init__(self) -> None:
        self._times: OrderedDict[UUID, tuple[str | None, int]] = OrderedDict()

    def again(self, run_id: UUID, checkpoint_id: str | None) -> int:
        """Count one more time; one that has got any further since counts from one.

        Args:
            checkpoint_id: the newest of its thread.
        """
        before, times = self._times.pop(run_id, (None, 0))
        times = times + 1 if before == checkpoint_id else 1
        self._times[run_id] = checkpoint_id, times
        if len(self._times) > MOST_RUNS:
            self._times.popitem(last=False)
        return times

    def forget(self, run_id: UUID) -> None:
        """The run has ended."""
        self._times.pop(run_id, None)
