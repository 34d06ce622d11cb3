"""Options that several commands have."""

from __future__ import annotations

import click

from treadle.cli.jsonarg import ServerUrl
from treadle.cli.request import DEFAULT_URL

url_option = click.option(
    "--url",
    type=ServerUrl(),
    default=DEFAULT_URL,
    show_default=True,
    envvar="TREADLE_URL",
    show_envvar=True,
    help="The server.",
)
