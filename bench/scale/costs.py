"""CPU: what each kind of work costs each program, as the simulation measured it; what a fleet takes by that; what is full first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.scale.counters import Counts
from bench.scale.fleet import Fleet
from bench.scale.model import Prediction
from bench.scale.simulation import Simulated

RESULTS = Path(__file__).parent.parent / "results"
# As the page calls them.
NAMES = {
    "treadle_api": "API",
    "treadle_worker": "worker",
    "treadle_scheduler": "scheduler",
    "postgres": "Postgres",
    "nats-server": "NATS",
    "valkey-server": "Valkey",
}

# Who has to do with leases, and with events: what the others used more meanwhile is chance.
KEEPING = ("treadle_api", "treadle_worker", "postgres", "nats-server")
TELLING = ("treadle_api", "treadle_worker", "valkey-server")


class Costs(msgspec.Struct, frozen=True):
    """Milliseconds of CPU by program.

    Attributes:
        standing: in each second, whatever is done.
        run: a run, from its creation to its end, besides what follows.
        kept: a run kept for a third of a lease: its lease, its message, its clients.
        batch: a batch of events.
        pull: a pull request of an idle slot, and its end.
    """

    standing: dict[str, float]
    run: dict[str, float]
    kept: dict[str, float]
    batch: dict[str, float]
    pull: dict[str, float]


class Load(NamedTuple):
    """What a part takes of what it can have. `cores`: of all its processes together."""

    part: str
    cores: float
    processes: int
    one_core: bool
    add: str

    @property
    def headroom(self) -> float | None:
        """How many times as much one process could do, where it has one core at the most."""
        return self.processes / self.cores if self.one_core and self.cores else None


def measured_costs(simulated: Simulated, sessions: int) -> Costs:
    """Each cost from the span in which it is the only new one; what all cost together less the others is the runs'."""
    idle, quiet, talk, whole = (
        _spent(span) for span in (simulated.idle, simulated.quiet, simulated.talk, simulated.all)
    )
    pulled = ("nats-server", "treadle_worker")
    pull = {name: idle[name] / _pulls(simulated.idle) for name in pulled}
    standing = {name: 0.0 if name in pulled else ms / simulated.idle.at for name, ms in idle.items()}

    def besides(
        spent: Mapping[str, float], span: Counts, *known: tuple[dict[str, float], float]
    ) -> dict[str, float]:
        """What is left of what was spent."""
        all_known = [(standing, span.at), (pull, _pulls(span)), *known]
        return {
            name: max(0.0, ms - sum(cost.get(name, 0.0) * times for cost, times in all_known))
            for name, ms in spent.items()
        }

    kept = _of(KEEPING, _each(besides(quiet, simulated.quiet), _kept(simulated.quiet)))
    spent = besides(talk, simulated.talk, (kept, _kept(simulated.talk)))
    batch = _of(TELLING, _each(spent, _batches(simulated.talk)))
    words = _batches(simulated.all) - 2 * sessions
    run = _each(
        besides(whole, simulated.all, (kept, _kept(simulated.all)), (batch, words)),
        sessions,
    )
    return Costs(standing, run, kept, batch, pull)


def _spent(span: Counts) -> dict[str, float]:
    """Milliseconds of the programs that are Treadle's, or its servers'."""
    known = {"bench.scale.workers": "treadle_worker"}
    spent = {known.get(name, name): 1000 * secs for name, secs in span.cpu.items()}
    return {name: spent.get(name, 0.0) for name in NAMES}


def _of(names: tuple[str, ...], costs: Mapping[str, float]) -> dict[str, float]:
    return {name: costs[name] for name in names}


def _each(spent: Mapping[str, float], times: float) -> dict[str, float]:
    return {name: ms / times for name, ms in spent.items()}


def _pulls(span: Counts) -> float:
    acks = span.counted.get("TREADLE_RUNS acknowledged", 0.0)
    return span.counted["nats in from workers"] - acks


def _kept(span: Counts) -> float:
    return span.counted["sql leases"]


def _batches(span: Counts) -> float:
    return span.counted["redis evalsha"]


def cores(fleet: Fleet, prediction: Prediction, costs: Costs) -> dict[str, float]:
    """The cores that each program takes, all of its processes together."""
    rates = (
        (costs.standing, 1.0),
        (costs.run, fleet.runs_per_sec),
        (costs.kept, prediction["leases extended"].value),
        (costs.batch, prediction["batches into Redis"].value - 2 * fleet.runs_per_sec),
        (costs.pull, prediction["pull requests"].value - fleet.runs_per_sec),
    )
    return {name: sum(cost.get(name, 0.0) * rate for cost, rate in rates) / 1000 for name in NAMES}


def loads(fleet: Fleet, taken: Mapping[str, float]) -> list[Load]:
    """Each part, the one that is nearest to its end first; last, those that can have many cores."""
    api, workers = fleet.api_processes, fleet.workers
    parts = [
        Load("API", taken["treadle_api"], api, True, "processes"),
        Load("worker", taken["treadle_worker"], workers, True, "processes"),
        Load("scheduler", taken["treadle_scheduler"], 1, True, "nothing: one leads"),
        Load("Valkey", taken["valkey-server"], 1, True, "a Valkey for each fleet"),
        Load("Postgres", taken["postgres"], 1, False, "cores"),
        Load("NATS", taken["nats-server"], 1, False, "cores"),
    ]
    return sorted(parts, key=lambda load: load.headroom or 1e9 - load.cores)
