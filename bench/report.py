"""The results as text: for the terminal, and for bench/results.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.load import Figures, medians
from bench.machine import Machine, Source
from bench.record import Played, Results, Times, Verdict
from bench.units import named, number, unit_of
from treadle.errors import TreadleError

PROGRAMS = {
    "bench.bare": "langgraph",
    "treadle_api": "api",
    "treadle_worker": "worker",
    "treadle_scheduler": "scheduler",
    "postgres": "postgres",
    "nats-server": "nats",
    "valkey-server": "valkey",
}
GENERATOR = "bench.generator"


class NoPlaceForResults(TreadleError):
    """The page has lost the markers between which the results go."""


def tables(results: Results) -> str:
    """The goals, the figures and the CPU time, as Markdown that is also legible as it is."""
    blocks = [
        goals_table(results.goals),
        starts_table(results.measured.times),
        figures_table(results),
        cpu_table(results),
    ]
    return "\n\n".join(block for block in blocks if block)


def circumstances(results: Results) -> str:
    """On what the figures were measured, in a paragraph."""
    packages = ", ".join(f"{name} {version}" for name, version in results.machine.packages.items())
    return (
        f"{place_and_time(results.date, results.source, results.machine)} Workers: {results.workers}, with "
        f"{results.jobs_per_worker} jobs each; rounds: {results.rounds}. The load generator runs on the same cores. "
        f"{packages}."
    )


def place_and_time(date: str, source: Source, machine: Machine) -> str:
    """When, of what and where, in two sentences."""
    changed = " with changes that were not committed" if source.changed else ""
    return (
        f"{date}: Treadle {source.version}, commit {source.commit}{changed}. {machine.system}, "
        f"{machine.cores} cores, {machine.memory_gb:g} GB, {machine.python}; load average before the start "
        f"{machine.load_before:g}."
    )


def page(results: Results, picture: str, data: str) -> str:
    """The whole of bench/results.md."""
    blocks = (
        "# Results",
        "The latest run of `make bench`, which writes this page; [README.md](README.md) says what it does.",
        f"![Latencies]({picture})",
        tables(results),
        circumstances(results),
        f"All rounds: [{data}]({data}).",
    )
    return "\n\n".join(blocks) + "\n"


def write_between(page: Path, begin: str, end: str, block: Sequence[str]) -> None:
    """Put paragraphs between two lines of a page.

    Raises:
        NoPlaceForResults: the page has no such lines.
    """
    head, begun, rest = page.read_text(encoding="utf-8").partition(begin)
    _, ended, tail = rest.partition(end)
    if not (begun and ended):
        raise NoPlaceForResults(f"{page.name} has no lines {begin} and {end}: put them where the results go.")
    page.write_text("\n\n".join((head + begin, *block, end + tail)), encoding="utf-8")


def goals_table(goals: Sequence[Verdict]) -> str:
    return table(
        ["goal", "measured", ""], [[v.goal, v.measured, "pass" if v.met else "**missed**"] for v in goals]
    )


def starts_table(times: Times) -> str:
    seconds = {
        "ready, new data directory": times.new_dir,
        "ready, old data directory": times.old_dir,
        "stopped": times.stop,
    }
    rows = [[what, *map(number, _spread(values))] for what, values in seconds.items()]
    return table(["`treadle dev`, seconds until", "median", "lowest", "highest"], rows)


def figures_table(results: Results) -> str:
    """Medians of the rounds, and how many times those of the others Treadle's are."""
    measured = results.measured
    others = {"bare": measured.bare, "peer": measured.peer}
    others = {name: played for name, played in others.items() if played.figures or played.failures}
    head = ["scenario", "figure", "Treadle", "lowest", "highest"]
    for name in others:
        head += [name, f"Treadle / {name}"]
    rows = [
        [name, _legible(figure), *map(number, _spread(values)), *_compared(name, figure, values, others)]
        for name, rounds in measured.treadle.figures.items()
        for figure, values in _by_figure(rounds).items()
    ]
    failed = [[name, "failed", *[""] * (len(head) - 2)] for name in measured.treadle.failures]
    return table(head, rows + failed) if rows or failed else ""


def cpu_table(results: Results) -> str:
    """CPU milliseconds per run, by program; medians of the rounds."""
    rows = [
        [name, player, *_cpu_cells(rounds)]
        for player, played in (("Treadle", results.measured.treadle), ("bare", results.measured.bare))
        for name, rounds in played.cpu_ms.items()
    ]
    head = ["CPU ms per run", "of", "all", *PROGRAMS.values(), "load generator"]
    return table(head, rows) if rows else ""


def _cpu_cells(rounds: Sequence[Mapping[str, float]]) -> list[str]:
    programs = {program for used in rounds for program in used}
    used = {program: statistics.median(each.get(program, 0.0) for each in rounds) for program in programs}
    served = sum(value for program, value in used.items() if program != GENERATOR)
    cells = (number(used[program]) if program in used else "" for program in (*PROGRAMS, GENERATOR))
    return [number(served), *cells]


def _compared(
    scenario: str, figure: str, values: Sequence[float], others: Mapping[str, Played]
) -> Iterator[str]:
    """Of each other one: the figure, and Treadle's as so many times that."""
    for played in others.values():
        rounds = played.figures.get(scenario)
        if not rounds or figure not in rounds[0]:
            yield from ("failed" if scenario in played.failures else "", "")
            continue
        other = medians(rounds)[figure]
        yield number(other)
        yield f"{statistics.median(values) / other:.2f}" if other else ""


def _by_figure(rounds: Sequence[Figures]) -> dict[str, list[float]]:
    return {figure: [figures[figure] for figures in rounds] for figure in rounds[0]}


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _legible(figure: str) -> str:
    """`first_event_p50_ms` as `first event p50, ms`."""
    unit = unit_of(figure)
    return f"{named(figure)}, {unit}" if unit else named(figure)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(3, *(len(row[column]) for row in (head, *rows))) for column in range(len(head))]
    rule = ["-" * width for width in widths]
    lines = (
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (head, rule, *rows)
    )
    return "\n".join(f"| {line} |" for line in lines)
