"""Sums up what was read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypedDict

from etl.zones import Zone


class Rejection(TypedDict):
    """A row that was left out, and why."""

    file: str
    line: int
    reason: str
    cells: list[str]


class Region(TypedDict):
    """What the zones of one region add up to."""

    zones: int
    countries: int


class Report(TypedDict):
    """The result of the job."""

    files: int
    rows: int
    accepted: int
    rejected: int
    reasons: dict[str, int]
    regions: dict[str, Region]
    northernmost: str | None
    southernmost: str | None


def sum_up(files: Mapping[str, int], zones: Sequence[Zone], rejected: Sequence[Rejection]) -> Report:
    """The report on the rows of these files, of which some became zones and the others were rejected."""
    by_latitude = [zone["zone"] for zone in sorted(zones, key=lambda zone: zone["latitude"])]
    return Report(
        files=len(files),
        rows=sum(files.values()),
        accepted=len(zones),
        rejected=len(rejected),
        reasons=dict(Counter(row["reason"] for row in rejected).most_common()),
        regions={name: _region(name, zones) for name in sorted({zone["region"] for zone in zones})},
        northernmost=by_latitude[-1] if by_latitude else None,
        southernmost=by_latitude[0] if by_latitude else None,
    )


def _region(name: str, zones: Sequence[Zone]) -> Region:
    members = [zone for zone in zones if zone["region"] == name]
    return Region(zones=len(members), countries=len({c for zone in members for c in zone["countries"]}))
