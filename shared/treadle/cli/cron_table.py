"""Crons as a table for people, as plain columns for pipes, and as JSON lines for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from treadle import json
from treadle.cli.clean import clean
from treadle.cli.table import as_columns, as_table, roughly

HEADER = ("CRON", "ASSISTANT", "SCHEDULE", "ZONE", "NEXT RUN", "LAST RUN")
Cron = Mapping[str, Any]


def show(crons: Sequence[Cron], assistants: Mapping[str, str], *, as_json: bool) -> None:
    """Write a list of crons.

    Args:
        assistants: the names of their assistants, by id.
    """
    if as_json:
        for cron in crons:
            _line(cron)
    elif not crons:
        click.echo("No crons.", err=True)
    elif sys.stdout.isatty():
        rows = [row(cron, assistants, now=datetime.now(UTC)) for cron in crons]
        as_table(HEADER, rows, whole=("CRON",), style=style)
    else:
        as_columns(HEADER, [row(cron, assistants) for cron in crons])


def tell(cron: Cron, what: str, *, as_json: bool) -> None:
    """Write what was done to a cron."""
    if as_json:
        _line(cron)
    else:
        due = cron["next_run_date"] if cron["enabled"] else None
        click.echo(clean(f"{what} {cron['cron_id']}  {cron['schedule']}{f'  next run {due}' if due else ''}"))


def tell_run(run: Mapping[str, Any], *, as_json: bool) -> None:
    """Write which run was made."""
    if as_json:
        _line(run)
    else:
        click.echo(f"  run     {run['run_id']}\n  thread  {run['thread_id']}")


def row(cron: Cron, assistants: Mapping[str, str], *, now: datetime | None = None) -> tuple[str, ...]:
    """The cells of a cron.

    Args:
        now: tell moments as people do, by the cron's own clock; None: as the server does.
    """
    cells = (
        cron["cron_id"],
        assistants.get(cron["assistant_id"], cron["assistant_id"]),
        cron["schedule"],
        cron["timezone"] or "UTC",
        next_run(cron, now),
        _last_run(cron),
    )
    return tuple(" ".join(clean(cell).split()) for cell in cells)


def next_run(cron: Cron, now: datetime | None) -> str:
    """When a cron is due, or why it is not."""
    if not cron["enabled"]:
        return "paused"
    if cron["next_run_date"] is None:
        return "ended"
    if now is None:
        return cron["next_run_date"]
    due = datetime.fromisoformat(cron["next_run_date"])
    return f"{_local(due, cron['timezone']):%a %Y-%m-%d %H:%M:%S} ({_distance((due - now).total_seconds())})"


def _local(due: datetime, zone: str | None) -> datetime:
    """A zone that this machine does not know is left to the server: UTC then."""
    try:
        return due.astimezone(ZoneInfo(zone or "UTC"))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return due.astimezone(UTC)


def _distance(seconds: float) -> str:
    return "now" if seconds < 1 else f"in {roughly(seconds)}"


def _last_run(cron: Cron) -> str:
    if error := cron.get("last_error"):
        return f"✗ {error}"
    return cron.get("last_run_id") or "-"


def _line(value: Mapping[str, Any]) -> None:
    click.echo(json.encode(dict(value)))


def style(cell: str) -> str:
    """What is wrong is red, what rests is dim."""
    if cell.startswith("✗"):
        return "red"
    return "dim" if cell in {"paused", "ended", "-"} else ""
