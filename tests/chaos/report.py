"""The figures as text: for the terminal, and between the markers of docs/reliability.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from bench.machine import Machine, Source
from bench.report import place_and_time, table, write_between

from tests.chaos.figures import Figures

BEGIN = "<!-- chaos:begin -->"
END = "<!-- chaos:end -->"
HEAD = ("accepted", "executed", "resumed", "rolled back", "lost", "doubled", "out of order", "other")
MORE = ("streams", "reconnects", "zombie marks", "longest recovery, s", "secs")
# A campaign of fewer runs, or without one of these kinds of requests, proves too little.
MIN_RUNS = 10_000
KINDS = frozenset(
    {
        "answer",
        "cancelled: interrupt",
        "cancelled: rollback",
        "create: enqueue",
        "create: interrupt",
        "create: reject",
        "create: rollback",
        "nats",
        "stream",
    }
)


class Campaign(msgspec.Struct, kw_only=True):
    """All rounds, by their seeds."""

    date: str
    rounds: dict[int, Figures]

    @property
    def total(self) -> Figures:
        together = Figures(rounds=0)
        for figures in self.rounds.values():
            together = together.and_(figures)
        return together


def tables(campaign: Campaign) -> Sequence[str]:
    """The figures of all rounds, and how often each fault struck."""
    rows = [_row(str(seed), figures) for seed, figures in campaign.rounds.items()]
    total = campaign.total
    return (
        table(["seed", *HEAD, *MORE], [*rows, _row("together", total)]),
        table(["accepted", "times"], _counts(total.kinds)),
        table(["fault", "struck"], _counts(total.faults)),
    )


def shortcomings(campaign: Campaign) -> Sequence[str]:
    """What a whole campaign proves nothing about, for want of runs or of faults that hit."""
    total = campaign.total
    few = [f"{total.accepted} runs were accepted, of {MIN_RUNS}"] if total.accepted < MIN_RUNS else []
    absent = [f"nothing was accepted as {kind!r}" for kind in sorted(KINDS - set(total.kinds))]
    return [*few, *absent, *(f"{name} never hit anything" for name in total.toothless)]


def _counts(counted: dict[str, int]) -> list[list[str]]:
    return [[name, str(count)] for name, count in sorted(counted.items())]


def _row(name: str, figures: Figures) -> list[str]:
    counts = (
        figures.accepted,
        figures.executed,
        figures.resumed,
        figures.rolled_back,
        figures.lost,
        figures.doubled,
        figures.out_of_order,
        figures.other_violations,
        figures.streams,
        figures.reconnects,
        figures.zombie_marks,
    )
    return [name, *map(str, counts), f"{figures.longest_recovery_secs:.1f}", f"{figures.secs:.0f}"]


def write_page(campaign: Campaign, machine: Machine, source: Source, page: Path) -> None:
    """Put the figures between their markers; raises as `write_between` does."""
    total = campaign.total
    said = (
        f"{place_and_time(campaign.date, source, machine)} {total.rounds} rounds, {total.accepted:,} runs accepted, "
        f"{sum(total.faults.values())} faults: {total.lost} lost, {total.doubled} doubled, {total.out_of_order} out of "
        f"order. `make chaos SEED=...` plays one of the rounds again."
    )
    write_between(page, BEGIN, END, (said, *tables(campaign)))


def save(campaign: Campaign, path: Path) -> None:
    """For programs: each round's figures, and all together."""
    kept = {"date": campaign.date, "rounds": campaign.rounds, "total": campaign.total}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2))
