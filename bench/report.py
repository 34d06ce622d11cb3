"""The results as text: for the terminal, and between the markers of bench/README.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.machine import Machine, Source
from bench.record import Results, Verdict
from treadle.errors import TreadleError

BEGIN = "<!-- results: written by `make bench` -->"
END = "<!-- end of results -->"

UNITS = {"_ms": "ms", "_per_s": "/s"}


class NoPlaceForResults(TreadleError):
    """The page has lost the markers between which the results go."""


def tables(results: Results) -> str:
    """The goals and the figures, as Markdown that is also legible as it is."""
    figures = [row for name, rounds in _all_rounds(results) for row in _rows(name, rounds)]
    return "\n\n".join(
        (
            goals_table(results.goals),
            table(["scenario", "figure", "median", "lowest", "highest"], figures),
        )
    )


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


def write_page(results: Results, page: Path, picture: str, data: str) -> None:
    """Put the results between their markers on the page; raises as `write_between` does."""
    block = (
        f"![Latencies]({picture})",
        tables(results),
        circumstances(results),
        f"All rounds: [{data}]({data}).",
    )
    write_between(page, BEGIN, END, block)


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


def _all_rounds(results: Results) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Each scenario with the values of each of its figures over the rounds."""
    times = results.measured.times
    seconds = {"new directory": times.new_dir, "old directory": times.old_dir, "stop": times.stop}
    yield "start", {f"{name}, s": values for name, values in seconds.items()}
    for name, rounds in results.measured.figures.items():
        yield name, {_legible(key): [figures[key] for figures in rounds] for key in rounds[0]}


def _legible(key: str) -> str:
    """`first_event_p50_ms` as `first event p50, ms`."""
    for suffix, unit in UNITS.items():
        if key.endswith(suffix):
            return f"{key.removesuffix(suffix).replace('_', ' ')}, {unit}"
    return key.replace("_", " ")


def _rows(name: str, figures: dict[str, list[float]]) -> Iterator[list[str]]:
    for figure, values in figures.items():
        yield [name, figure, *map(_number, (statistics.median(values), min(values), max(values)))]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(3, *(len(row[column]) for row in (head, *rows))) for column in range(len(head))]
    rule = ["-" * width for width in widths]
    lines = (
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (head, rule, *rows)
    )
    return "\n".join(f"| {line} |" for line in lines)
