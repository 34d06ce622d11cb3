"""What one run of the benchmark found, and the file that keeps it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.load import Figures
from bench.machine import Machine, Source


class Times(msgspec.Struct, frozen=True):
    """Seconds, once per round; `stop` has two of each round."""

    new_dir: list[float]
    old_dir: list[float]
    stop: list[float]


class Measured(msgspec.Struct, frozen=True):
    """The figures of each scenario, one set per round; a scenario that failed has its reason instead."""

    times: Times
    figures: dict[str, list[Figures]]
    failures: dict[str, str]


class Verdict(msgspec.Struct, frozen=True):
    """One goal, what was measured for it, and whether it was met."""

    goal: str
    measured: str
    met: bool


class Results(msgspec.Struct, frozen=True):
    """Everything that someone needs who reads the figures a year later."""

    date: str
    source: Source
    machine: Machine
    rounds: int
    workers: int
    jobs_per_worker: int
    goals: list[Verdict]
    measured: Measured

    @property
    def goals_met(self) -> bool:
        return all(verdict.met for verdict in self.goals)


def save(results: Results, directory: Path) -> Path:
    """Write the results to a file named for the day and the commit."""
    path = directory / f"{results.date}-{results.source.commit}.json"
    directory.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(_rounded(results)), indent=2) + b"\n")
    return path


def _rounded(results: Results) -> Results:
    """No clock here is good for more digits than these."""
    measured = results.measured
    figures = {
        name: [{key: round(value, 3) for key, value in one.items()} for one in rounds]
        for name, rounds in measured.figures.items()
    }
    times = Times(
        *([round(value, 3) for value in values] for values in msgspec.structs.astuple(measured.times))
    )
    return msgspec.structs.replace(
        results, measured=msgspec.structs.replace(measured, figures=figures, times=times)
    )
