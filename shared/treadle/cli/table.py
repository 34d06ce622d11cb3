"""Lists on standard output: a table for people, plain columns for pipes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import click

Row = Sequence[str]
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def as_table(
    header: Row, rows: Sequence[Row], *, whole: Collection[str], style: Callable[[str], str] = lambda _: ""
) -> None:
    """Write a table as wide as the terminal.

    Args:
        whole: the columns whose cells are not to be broken into lines.
        style: of a cell, as rich names it.
    """
    from rich.console import Console  # noqa: PLC0415 - only a person needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, no_wrap=name in whole, overflow="fold")
    for cells in rows:
        table.add_row(*(Text(cell, style(cell)) for cell in cells))
    Console(highlight=False).print(table)


def as_columns(header: Row, rows: Sequence[Row]) -> None:
    """Write a line for each row, its cells below those of the others."""
    lines = [header, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def roughly(seconds: float) -> str:
    """A time in the largest unit that it fills: `3 d`, `12 min`."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{max(seconds, 0) // size:.0f} {unit}"
