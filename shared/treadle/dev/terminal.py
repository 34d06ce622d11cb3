"""The output for a person at a terminal: colours, a spinner while things start, a panel when they are up."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from typing import TextIO

from rich.box import ROUNDED
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.status import Status
from rich.table import Table
from rich.text import Text

from treadle.dev.output import OWN_NAME, Output, prefix

_COLOURS = ("cyan", "magenta", "yellow", "blue", "bright_cyan", "bright_magenta")


class Terminal(Output):
    """The same lines in the colour of their process, above a spinner as long as the start goes on."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._status = Status("", console=self._console)
        self._colours = cycle(_COLOURS)
        self._colour_of = {OWN_NAME: "bold green"}

    def __exit__(self, *_: object) -> None:
        self._end_progress()

    def line(self, name: str, text: str) -> None:
        if name not in self._colour_of:
            self._colour_of[name] = next(self._colours)
        self._print(Text.assemble((prefix(name), self._colour_of[name]), Text.from_ansi(text)))

    def progress(self, text: str) -> None:
        with suppress(OSError):
            self._status.update(Text(text))
            self._status.start()

    def ready(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        self._end_progress()
        table = Table.grid(padding=(0, 2))
        for name, text in rows:
            table.add_row(Text(name, "bold"), Text(text, overflow="fold"))
        self._print(Panel.fit(table, title=Text(title, "bold green"), box=ROUNDED, padding=(1, 2)))

    def _end_progress(self) -> None:
        with suppress(OSError):
            self._status.stop()

    def _print(self, what: RenderableType) -> None:
        with suppress(OSError):
            self._console.print(what, soft_wrap=isinstance(what, Text))
