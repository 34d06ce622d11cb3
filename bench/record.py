"""What one run of the benchmark found, and the file that keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from bench.load import Figures
from bench.machine import Machine, Source


class Times(msgspec.Struct, frozen=True):
    """Seconds, once per round; `stop` has two of each round."""

    new_dir: list[float]
    old_dir: list[float]
    stop: list[float]


class Played(msgspec.Struct, frozen=True):
    """What one player made of the scenarios.

    Attributes:
        figures: of each scenario, one set per round; one that failed is not among them.
        failures: the reasons of those that failed.
        cpu_ms: CPU time per run in milliseconds, by program, one set per round.
    """

    figures: dict[str, list[Figures]] = {}
    failures: dict[str, str] = {}
    cpu_ms: dict[str, list[dict[str, float]]] = {}


class Measured(msgspec.Struct, frozen=True):
    """Everything that was measured; `peer` is empty when there was none."""

    times: Times
    bare: Played
    treadle: Played
    peer: Played


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
    text = json.dumps(json.loads(msgspec.json.encode(results), parse_float=_rounded), indent=2)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def _rounded(digits: str) -> float:
    """No clock here is good for more digits than these."""
    return round(float(digits), 3)
