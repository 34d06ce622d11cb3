"""API keys as a table for people, as plain columns for pipes, and as JSON lines for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from treadle import json
from treadle.cli.clean import clean
from treadle.cli.table import as_columns, as_table, roughly
from treadle.db.api_keys import ApiKey

COLUMNS = ("ID", "NAME", "TENANT", "USER", "MAY", "STATE", "LAST USED")


def made(key: ApiKey, text: str) -> None:
    """Write a new key: itself to stdout, alone, for whatever reads it; what a person should know of it to stderr."""
    until = f"until {key.expires_at:%Y-%m-%d %H:%M:%S} UTC" if key.expires_at else "until it is revoked"
    click.echo(
        clean(
            f"Key {key.id} of {key.identity} in tenant {key.tenant} may {', '.join(key.permissions)}, {until}.\n"
            "It is shown this once. Clients send it as `x-api-key`; the server needs TREADLE_API_KEYS=on."
        ),
        err=True,
    )
    click.echo(text)


def revoked(key: ApiKey) -> None:
    """Write which key was revoked."""
    click.echo(clean(f"revoked {key.id}  {key.identity} in tenant {key.tenant}"))


def listed(keys: Sequence[ApiKey], *, as_json: bool) -> None:
    """Write a list of keys."""
    if as_json:
        for key in keys:
            click.echo(json.encode(key))
    elif not keys:
        click.echo("No API keys.", err=True)
    else:
        rows = [row(key, datetime.now(UTC)) for key in keys]
        if sys.stdout.isatty():
            as_table(COLUMNS, rows, whole=("ID", "STATE"), style=style)
        else:
            as_columns(COLUMNS, rows)


def row(key: ApiKey, now: datetime) -> tuple[str, ...]:
    """The cells of a key."""
    cells = (
        key.id,
        key.name or "-",
        key.tenant,
        key.identity,
        ", ".join(key.permissions),
        state(key, now),
        f"{roughly((now - key.last_used_at).total_seconds())} ago" if key.last_used_at else "never",
    )
    return tuple(" ".join(clean(cell).split()) for cell in cells)


def state(key: ApiKey, now: datetime) -> str:
    """Whether a key is good, and until when."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "good"
    left = (key.expires_at - now).total_seconds()
    return f"good for {roughly(left)}" if left > 0 else "expired"


def style(cell: str) -> str:
    """What is good for nothing any more is dim."""
    return "dim" if cell in {"revoked", "expired", "never", "-"} else ""
