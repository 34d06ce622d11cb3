"""A run as a live picture on a terminal: what is done scrolls up, what is under way moves below it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from langgraph_sdk.schema import StreamMode, StreamPart
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from treadle.cli.happenings import MODES, Happening, Progress, read
from treadle.cli.journal import Clock, Journal
from treadle.cli.narrator import Line, Narrator
from treadle.cli.report import report
from treadle.cli.request import Outcome, Request
from treadle.cli.timeline import count

_FRAME_SECS = 0.08
_BAR_WIDTH = 30
# Lines of the terminal that bars may not take: nodes, tokens, the line at the bottom.
_OTHER_LINES = 10
_MESSAGE_LINES = 3


class LiveView:
    """Draws on the console. Bars come from custom events, one for each title, updated in place."""

    def __init__(self, request: Request, clock: Clock, console: Console | None = None) -> None:
        self._request = request
        self._console = console or Console(highlight=False)
        self._narrator = Narrator(Journal(clock), together=True)
        self._bars: dict[str, Progress] = {}
        self._spinners: dict[str, Spinner] = {}
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, get_renderable=self.picture
        )

    @property
    def modes(self) -> Sequence[StreamMode]:
        return MODES

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keep(self._narrator.rest())
        self._live.stop()

    def part(self, part: StreamPart) -> None:
        for happening in read(part):
            self._show(happening)

    def say(self, text: str) -> None:
        self._keep([Line(text, "yellow")])

    async def animate(self) -> None:
        while True:
            self._live.refresh()
            await asyncio.sleep(_FRAME_SECS)

    def end(self, outcome: Outcome) -> None:
        self._keep(self._narrator.rest())
        self._live.stop()
        self._keep(report(self._request, outcome, self._narrator.journal))

    def picture(self) -> RenderableType:
        """What is under way: tokens, nodes, bars, and the time."""
        return Group(*self._tokens(), *self._nodes(), *self._progress(), self._bottom())

    def _show(self, happening: Happening) -> None:
        if isinstance(happening, Progress):
            self._bars[happening.title] = happening
        else:
            self._keep(self._narrator.tell(happening))

    def _keep(self, lines: Sequence[Line] | Iterator[Line]) -> None:
        for line in lines:
            self._console.print(Text(line.text, line.style), soft_wrap=True)

    def _tokens(self) -> Iterator[RenderableType]:
        for node, text in self._narrator.flow.partial:
            tail = text[-_MESSAGE_LINES * self._console.width :]
            yield Text(f"         {node} │ {tail}")

    def _nodes(self) -> Iterator[RenderableType]:
        for node, tasks in self._narrator.journal.running().items():
            seconds = self._narrator.journal.now - min(task.started for task in tasks)
            spinner = self._spinners.setdefault(node, Spinner("dots", style="cyan"))
            spinner.update(text=Text(f"{count(node, len(tasks))}  {seconds:.1f} s", "cyan"))
            yield spinner

    def _progress(self) -> Iterator[RenderableType]:
        """One row for each bar; those that are full give way when the terminal is too small for all."""
        room = max(3, self._console.height - _OTHER_LINES)
        by_need = sorted(self._bars.values(), key=lambda bar: bar.done >= bar.total)[:room]
        if not by_need:
            return
        table = Table.grid(padding=(0, 2))
        for bar in (bar for bar in self._bars.values() if bar in by_need):
            title = Text(bar.title or bar.stage or "progress", overflow="ellipsis", no_wrap=True)
            filled = ProgressBar(total=bar.total or 1, completed=bar.done, width=_BAR_WIDTH)
            stage = Text(bar.stage if bar.title else "", "dim")
            table.add_row("", title, filled, f"{bar.done:g}/{bar.total:g}", stage)
        yield table

    def _bottom(self) -> RenderableType:
        journal = self._narrator.journal
        state = "" if journal.tasks else "  waiting for a worker"
        return Text(f"{journal.now:7.1f}  {self._request.graph}{state}  (Ctrl-C cancels the run)", "dim")
