"""One row of the time zone tables: what it must be, and what it becomes."""

import re
from collections.abc import Mapping, Sequence
from typing import TypedDict

COLUMNS = ["countries", "coordinates", "zone", "comment"]

# ISO 6709, as the tables write it: ±DDMM±DDDMM or ±DDMMSS±DDDMMSS.
COORDINATES = re.compile(r"([+-]\d{2})(\d{2})(\d{2})?([+-]\d{3})(\d{2})(\d{2})?")


class Zone(TypedDict):
    """A time zone: where its principal city lies, in degrees, and the countries that keep it."""

    zone: str
    region: str
    countries: list[str]
    latitude: float
    longitude: float


class BadRowError(ValueError):
    """A row that cannot be used; the message is the reason, worded alike for all rows that share it."""


def parse_row(cells: Sequence[str], country_names: Mapping[str, str]) -> Zone:
    """A row as a zone.

    Raises:
        BadRowError: says what is wrong with the row.
    """
    if len(cells) != len(COLUMNS):
        raise BadRowError(f"{len(cells)} cells instead of {len(COLUMNS)}")
    codes, coordinates, zone, _ = cells
    latitude, longitude = _position(coordinates)
    return Zone(
        zone=zone,
        region=zone.partition("/")[0],
        countries=[_country(code, country_names) for code in codes.split(",")],
        latitude=latitude,
        longitude=longitude,
    )


def _country(code: str, names: Mapping[str, str]) -> str:
    if not code:
        raise BadRowError("no country")
    if code not in names:
        raise BadRowError(f"unknown country {code}")
    return names[code]


def _position(coordinates: str) -> tuple[float, float]:
    if not coordinates:
        raise BadRowError("no coordinates")
    match = COORDINATES.fullmatch(coordinates)
    if not match:
        raise BadRowError("malformed coordinates")
    latitude, longitude = _degrees(*match.group(1, 2, 3)), _degrees(*match.group(4, 5, 6))
    if abs(latitude) > 90 or abs(longitude) > 180:
        raise BadRowError("coordinates off the globe")
    return latitude, longitude


def _degrees(degrees: str, minutes: str, seconds: str | None) -> float:
    # The sign holds for all three parts, and "-00" has one too.
    size = abs(int(degrees)) + int(minutes) / 60 + int(seconds or 0) / 3600
    return round(-size if degrees.startswith("-") else size, 4)
