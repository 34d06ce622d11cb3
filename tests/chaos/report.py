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
MORE = ("streams", "reconnects", "zombie marks", "recovery, s", "secs")


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
    faults = [[name, str(count)] for name, count in sorted(total.faults.items())]
    return (
        table(["seed", *HEAD, *MORE], [*rows, _row("together", total)]),
        table(["fault", "struck"], faults),
    )


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
