"""The audit as a table for people, as plain columns for pipes, and as JSON lines for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from treadle import json
from treadle.cli.clean import clean
from treadle.cli.table import as_columns, as_table
from treadle.db.audit import Audited

COLUMNS = ("TIME", "ACTION", "TENANT", "USER", "GRAPH", "THREAD", "ANSWER")
ANSWER_CHARACTERS = 60


def listed(records: Sequence[Audited], *, as_json: bool) -> None:
    """Write records."""
    if as_json:
        for record in records:
            click.echo(json.encode(record))
    elif not records:
        click.echo("Nothing was answered.", err=True)
    elif sys.stdout.isatty():
        as_table(
            COLUMNS, [row(record) for record in records], whole=("TIME", "ACTION", "THREAD"), style=style
        )
    else:
        as_columns(COLUMNS, [row(record) for record in records])


def row(record: Audited) -> tuple[str, ...]:
    """The cells of a record."""
    answer = json.encode(record.answer).decode()
    cells = (
        f"{record.at:%Y-%m-%d %H:%M:%S}",
        record.action,
        record.tenant,
        record.identity or "-",
        record.graph_id or "-",
        str(record.thread_id),
        answer if len(answer) <= ANSWER_CHARACTERS else f"{answer[:ANSWER_CHARACTERS]}…",
    )
    return tuple(" ".join(clean(cell).split()) for cell in cells)


def style(cell: str) -> str:
    """What was refused stands out."""
    return "red" if cell == "refused" else ""
