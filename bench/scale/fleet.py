"""What the model is asked about: a number of runs, those who execute them, and those who watch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from treadle.errors import TreadleError


class Impossible(TreadleError):
    """There is no such fleet."""


@dataclass(frozen=True)
class Fleet:
    """Runs in work at the same time, and what there is for them. The defaults are those of `docs/scale.md`.

    Attributes:
        sessions: runs under lease at once, each on a thread of its own.
        run_secs: how long a run lasts; infinite: none begins or ends while one looks.
        nodes: of the graph, one after the other, none of which is over at once.
        events_per_sec: that one run tells its clients, evenly.
        subscribers: clients that follow a run, on average, each at another API process.
        pool_size, api_pool_size: TREADLE_DB_POOL_SIZE of workers, and of API processes.
        max_ack_pending: TREADLE_MAX_ACK_PENDING.
    """

    sessions: int = 10_000
    workers: int = 100
    jobs_per_worker: int = 100
    api_processes: int = 4
    schedulers: int = 2
    run_secs: float = 60.0
    nodes: int = 1
    events_per_sec: float = 1.0
    subscribers: float = 1.0
    lease_secs: float = 30.0
    pool_size: int = 10
    api_pool_size: int = 10
    max_ack_pending: int = 10_000

    def __post_init__(self) -> None:
        if self.sessions > self.slots:
            raise Impossible(
                f"{self.workers} workers with {self.jobs_per_worker} jobs each cannot have {self.sessions} runs in work: "
                "ask for more workers, or more jobs."
            )
        if self.subscribers > self.api_processes:
            raise Impossible("No more subscribers of a run are modelled than there are API processes.")

    @property
    def slots(self) -> int:
        return self.workers * self.jobs_per_worker

    @property
    def idle_slots(self) -> int:
        return self.slots - self.sessions

    @property
    def runs_per_sec(self) -> float:
        """Runs that begin, and that end (Little's law)."""
        return 0.0 if math.isinf(self.run_secs) else self.sessions / self.run_secs
