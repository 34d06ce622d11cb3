"""`treadle audit`: who answered which question of a graph."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from treadle.cli.age import Age
from treadle.cli.keys import data_dir_option

if TYPE_CHECKING:
    from treadle.db.audit import Audited

MOST = 10_000


@click.group()
def audit() -> None:
    """Who answered which question of a graph, and what; see docs/auth.md."""


@audit.command("list")
@click.option("--tenant", help="Only of this tenant.")
@click.option("--user", help="Only what this user answered, or wanted to.")
@click.option("--thread", type=click.UUID, help="Only of this thread.")
@click.option("--since", type=Age("time"), metavar="TIME", help="Only of the last 12h, 90d. [default: all]")
@click.option(
    "--limit", type=click.IntRange(1, MOST), default=100, show_default=True, help="How many at most."
)
@data_dir_option
@click.option(
    "--json", "as_json", is_flag=True, help="Write one JSON object per line, with questions and answers."
)
def list_(
    tenant: str | None,
    user: str | None,
    thread: UUID | None,
    since: timedelta | None,
    limit: int,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """List what was answered, or refused, the newest first."""
    from treadle.cli.audit_view import listed  # noqa: PLC0415 - after the arguments are checked

    listed(_read(data_dir, tenant, user, thread, since, limit), as_json=as_json)


def _read(
    data_dir: Path | None,
    tenant: str | None,
    user: str | None,
    thread: UUID | None,
    since: timedelta | None,
    limit: int,
) -> list[Audited]:
    """Everything that takes time to import is imported here."""
    import asyncio  # noqa: PLC0415

    from treadle.cli.servers import database, postgres  # noqa: PLC0415
    from treadle.db.audit import AuditRows  # noqa: PLC0415
    from treadle.migrate import require_schema  # noqa: PLC0415

    where = database(data_dir)

    async def connected() -> list[Audited]:
        async with postgres(where) as pool:
            await require_schema(pool)
            return await AuditRows(pool).all(tenant, user, thread, since, limit)

    return asyncio.run(connected())
