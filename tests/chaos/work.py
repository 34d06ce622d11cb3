"""What a run of the load is told to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What a run is to do; see `ChaosState` of tests/graphs/chaos.py."""

    steps: int
    secs: float
    events: int = 2
    ask: int = -1
    harm: str = ""
    dose: float = 0
