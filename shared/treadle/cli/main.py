"""`treadle`: the group of all commands, and what becomes of an error that ends one."""

from __future__ import annotations

import os
from importlib import metadata
from typing import Any

import click

from treadle.cli.lazy import LazyGroup
from treadle.errors import ConfigError, TreadleError

# What a shell reports of a program that Ctrl-C ended.
EX_INTERRUPTED = 130

COMMANDS = {
    "dev": "treadle.cli.dev:dev",
    "run": "treadle.cli.run:run",
    "cron": "treadle.cli.cron:cron",
    "deadletter": "treadle.cli.deadletter:deadletter",
    "keys": "treadle.cli.keys:keys",
    "audit": "treadle.cli.audit:audit",
    "api": "treadle.cli.services:api",
    "worker": "treadle.cli.services:worker",
    "scheduler": "treadle.cli.services:scheduler",
    "migrate": "treadle.cli.migrate:migrate",
}


class Treadle(LazyGroup):
    """Ends a command that raised one of Treadle's own errors with one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TreadleError as error:
            click.secho(f"treadle: {error}", err=True, fg="red")
            ctx.exit(os.EX_CONFIG if isinstance(error, ConfigError) else 1)
        except KeyboardInterrupt:
            click.echo("treadle: stopped by Ctrl-C", err=True)
            ctx.exit(EX_INTERRUPTED)


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"treadle {_version()}")
        ctx.exit()


def _version() -> str:
    try:
        return metadata.version("treadle")
    except metadata.PackageNotFoundError:
        return "from a source tree that is not installed"


@click.group(cls=Treadle, commands_at=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Serve LangGraph graphs as an API, and run them.

    `treadle dev` starts everything on this machine; `treadle run` runs a graph on a server.
    """
