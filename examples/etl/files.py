"""Reads the CSV files."""

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parent / "data"


class Row(NamedTuple):
    """The cells of a row, and the line of the file on which it ends."""

    line: int
    cells: list[str]


def count_rows(wanted: Sequence[str]) -> dict[str, int]:
    """The files to process, and how many rows each has; all files when none is named.

    Raises:
        ValueError: a named file does not exist.
    """
    files = {path.name: path for path in sorted((DATA / "zones").glob("*.csv"))}
    if unknown := set(wanted) - set(files):
        raise ValueError(f"No such file: {', '.join(sorted(unknown))}. There are {', '.join(files)}.")
    return {name: len(read_rows(name)) for name in wanted or files}


def read_rows(file: str, start: int = 0, limit: int | None = None) -> list[Row]:
    """Some rows of a file, the header not counted."""
    with (DATA / "zones" / file).open(encoding="utf-8", newline="") as text:
        reader = csv.reader(text)
        next(reader)
        rows = (Row(reader.line_num, cells) for cells in reader)
        return list(islice(rows, start, None if limit is None else start + limit))


def read_country_names() -> dict[str, str]:
    """The name of each country by its ISO 3166 code."""
    with (DATA / "countries.csv").open(encoding="utf-8", newline="") as text:
        return {row["code"]: row["name"] for row in csv.DictReader(text)}
