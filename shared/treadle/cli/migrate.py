"""`treadle migrate`: bring the database to the schema of this version."""

from __future__ import annotations

import asyncio
import os

import click

from treadle.errors import ConfigError, TreadleError


@click.command()
@click.option("--no-wait", is_flag=True, help="Fail at once when Postgres is not there.")
def migrate(no_wait: bool) -> None:
    """Bring the database at DATABASE_URI to the schema of this version, as soon as Postgres is there.

    Safe to run from several machines at once, and again. `treadle dev` does it by itself.
    """
    applied = asyncio.run(_migrate(_database_uri(), wait=not no_wait))
    for name in applied:
        click.echo(f"applied {name}")
    click.echo(f"{len(applied)} migrations applied." if applied else "The database is up to date.")


def _database_uri() -> str:
    """The only setting that a migration needs: the other servers may be away."""
    if uri := os.environ.get("DATABASE_URI"):
        return uri
    raise ConfigError(
        "DATABASE_URI must be set in the environment, for example to "
        "postgresql://user:password@host:5432/database. `treadle dev` needs no migration by hand."
    )


async def _migrate(uri: str, *, wait: bool) -> list[str]:
    import asyncpg  # noqa: PLC0415 - the other commands should not pay for it

    from treadle import migrate as migrations  # noqa: PLC0415

    try:
        return await (migrations.migrate_patiently if wait else migrations.migrate)(uri)
    except asyncpg.PostgresError as error:
        raise TreadleError(
            f"Postgres refused to migrate the database: {error}. Check the user, the password and the "
            "database that DATABASE_URI names, and that the user may create schemas in it."
        ) from error
