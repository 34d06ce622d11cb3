"""A run as plain lines, for logs and pipes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, TextIO

from langgraph_sdk.schema import StreamMode, StreamPart

from treadle.cli.happenings import MODES, read
from treadle.cli.journal import Clock, Journal
from treadle.cli.narrator import Line, Narrator
from treadle.cli.report import report
from treadle.cli.request import Outcome, Request


class PlainView:
    """Writes each line when it is complete, and nothing twice."""

    def __init__(self, request: Request, clock: Clock, out: TextIO) -> None:
        self._request = request
        self._narrator = Narrator(Journal(clock), together=False)
        self._out = out

    @property
    def modes(self) -> Sequence[StreamMode]:
        return MODES

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(self._narrator.rest())

    def part(self, part: StreamPart) -> None:
        for happening in read(part):
            self._write(self._narrator.tell(happening))

    def say(self, text: str) -> None:
        self._write([Line(text)])

    async def animate(self) -> None:
        return

    def end(self, outcome: Outcome) -> None:
        self._write(self._narrator.rest())
        self._write(report(self._request, outcome, self._narrator.journal))

    def _write(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._out.write(line.text.rstrip() + "\n")
        self._out.flush()
