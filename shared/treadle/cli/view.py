"""How a run is shown: one interface, three ways."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

from langgraph_sdk.schema import StreamMode, StreamPart

from treadle.cli.request import Outcome, Request


class View(Protocol):
    """Shows one run. Used as a context, so that the terminal is left as it was, also after an error."""

    @property
    def modes(self) -> Sequence[StreamMode]:
        """The stream modes that it wants."""
        ...

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def part(self, part: StreamPart) -> None:
        """Show what has come."""
        ...

    def say(self, text: str) -> None:
        """Show a remark on what the command itself does."""
        ...

    async def animate(self) -> None:
        """Keep the picture moving until cancelled; returns at once when there is none."""
        ...

    def end(self, outcome: Outcome) -> None:
        """Show how the run has ended."""
        ...


def choose(request: Request, *, as_json: bool) -> View:
    """JSON lines when asked for, a live picture on a terminal, plain lines elsewhere."""
    if as_json:
        from treadle.cli.jsonlines import JsonLines  # noqa: PLC0415 - each view imports what only it needs

        return JsonLines(sys.stdout.buffer)
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from treadle.cli.live import LiveView  # noqa: PLC0415

        return LiveView(request, time.monotonic)
    from treadle.cli.plain import PlainView  # noqa: PLC0415

    return PlainView(request, time.monotonic, sys.stdout)
