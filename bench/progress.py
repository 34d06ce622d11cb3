"""Shows how far the benchmark has come: plain lines, or a bar for a person at a terminal."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text


class Progress:
    """One line per step, with its number."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._begun = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def step(self, title: str) -> None:
        """The step before is over, and the next begins."""
        self._begun += 1
        self.say(f"[{self._begun}/{self._steps}] {title}")

    def say(self, text: str) -> None:
        print(text, flush=True)


class TerminalProgress(Progress):
    """A bar that stays below what is said."""

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(highlight=False, markup=False)
        self._bar = Bar(*columns, TimeElapsedColumn(), console=console, transient=True)
        self._task = self._bar.add_task("", total=steps)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, title: str) -> None:
        self._bar.update(self._task, description=title, completed=self._begun)
        self._begun += 1

    def say(self, text: str) -> None:
        self._bar.console.print(Text(text), soft_wrap=True)


def progress_of(steps: int) -> Progress:
    """The progress that suits the standard output."""
    return TerminalProgress(steps) if sys.stdout.isatty() else Progress(steps)
