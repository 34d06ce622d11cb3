"""The model, and what was counted, as Markdown that is also legible as it is; and between the markers of docs/scale.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bench.machine import Machine, Source
from bench.report import place_and_time, table, write_between
from bench.scale.checks import TOLERANCE, Check
from bench.scale.costs import NAMES, Costs, Load
from bench.scale.fleet import Fleet
from bench.scale.model import Prediction
from bench.scale.simulation import Simulated, Spans

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
MODEL = "<!-- model: written by `python -m bench.scale --write` -->", "<!-- end of model -->"
SIMULATION = (
    "<!-- simulation: written by `python -m bench.scale --simulate` -->",
    "<!-- end of simulation -->",
)
KINDS = ("run", "kept", "batch", "pull", "standing")


class Results(msgspec.Struct, frozen=True):
    """One simulation, with everything that someone needs who reads it a year later."""

    date: str
    source: Source
    machine: Machine
    fleet: Fleet
    spans: Spans
    checks: list[Check]
    costs: Costs
    simulated: Simulated


def model_table(prediction: Prediction) -> str:
    rows = [[name, number(each.value) + each.unit, each.why] for name, each in prediction.items()]
    return table(["quantity", "model", "how"], rows)


def checks_table(checks: Sequence[Check]) -> str:
    rows = [
        [
            each.span,
            each.name,
            number(each.model) + each.unit,
            number(each.measured) + each.unit,
            _verdict(each),
        ]
        for each in checks
    ]
    return table(["span", "quantity", "model", "measured", "ratio"], rows)


def costs_table(costs: Costs) -> str:
    rows = [
        [NAMES[program], *(_ms(getattr(costs, kind).get(program, 0.0)) for kind in KINDS)]
        for program in NAMES
    ]
    return table(
        [
            "ms of CPU",
            "a run",
            "kept for a third of a lease",
            "a batch of events",
            "an idle pull",
            "a second, anyway",
        ],
        rows,
    )


def loads_table(loads: Sequence[Load]) -> str:
    rows = [
        [
            load.part,
            f"{load.cores:.2f}",
            _processes(load),
            "" if load.headroom is None else f"{load.headroom:.1f} x",
            load.add,
        ]
        for load in loads
    ]
    return table(["part", "cores", "in", "headroom", "add"], rows)


def memory_table(memory: Mapping[str, float]) -> str:
    return table(["program", "MiB"], [[name, number(mib)] for name, mib in memory.items()])


def blocks(results: Results) -> list[str]:
    """What the page shows of a simulation."""
    fleet, spans = results.fleet, results.spans
    return [
        checks_table(results.checks),
        (
            f"Off by more than {TOLERANCE:.0%} would fail. Simulated: {fleet.sessions:,} runs under lease at once, {fleet.workers} workers with "
            f"{fleet.jobs_per_worker} jobs each, {fleet.api_processes} API processes, {fleet.schedulers} schedulers, pools of "
            f"{fleet.pool_size}, {fleet.subscribers:g} subscribers of a run; {spans.begin:g} s to begin them all, "
            f"{spans.quiet:g} s quiet, {spans.talk:g} s with a word of each every {spans.every:g} s, {spans.end:g} s to end."
        ),
        costs_table(results.costs),
        memory_table(results.simulated.memory_mib),
        place_and_time(results.date, results.source, results.machine),
    ]


def publish(results: Results, directory: Path) -> Path:
    """Write the file of this simulation, and the page; raises as `write_between` does."""
    path = directory / f"scale-{results.date}-{results.source.commit}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    write_between(PAGE, *SIMULATION, blocks(results))
    return path


def write_model(shown: Sequence[str]) -> None:
    """Put what the model says of the default fleet on the page; raises as `write_between` does."""
    write_between(PAGE, *MODEL, shown)


def latest(directory: Path) -> Results | None:
    """The newest simulation that is kept."""
    found = sorted(directory.glob("scale-*.json"), key=lambda path: path.stat().st_mtime)
    return msgspec.json.decode(found[-1].read_bytes(), type=Results) if found else None


def number(value: float) -> str:
    return (
        f"{value:,.0f}"
        if value >= 100 or value == int(value)
        else f"{value:.2f}"
        if value < 10
        else f"{value:.1f}"
    )


def _ms(value: float) -> str:
    return "" if not value else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _verdict(check: Check) -> str:
    return f"{check.ratio:.2f}" if check.holds else f"**{check.ratio:.2f}**"


def _processes(load: Load) -> str:
    if not load.one_core:
        return "as many cores as it has"
    return "1 core" if load.processes == 1 else f"{load.processes} cores"
