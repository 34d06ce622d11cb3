"""Tells a run as lines: what the terminal keeps, and what goes into a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from treadle.cli.flow import TextFlow
from treadle.cli.happenings import (
    Attempt,
    Failed,
    Happening,
    NodeFinished,
    NodeStarted,
    Note,
    Progress,
    Text,
    ToolResult,
)
from treadle.cli.journal import Journal, Mark, Task
from treadle.cli.timeline import count, duration


@dataclass(frozen=True)
class Line:
    """A line to show, and its style, in rich's words, where there are styles."""

    text: str
    style: str = ""


STYLES = {Mark.DONE: "green", Mark.ASKED: "yellow", Mark.FAILED: "bold red", Mark.RUNNING: "dim"}


class Narrator:
    """Turns happenings into lines, each with the seconds since the run began.

    Args:
        together: tell of parallel tasks of one node once, when all of them are done.
    """

    def __init__(self, journal: Journal, *, together: bool) -> None:
        self.journal = journal
        self.flow = TextFlow()
        self._together = together
        self._held: Counter[str] = Counter()

    def tell(self, happening: Happening) -> list[Line]:
        """Note what happened, and the lines that it is worth."""
        finished = self.journal.note(happening)
        return [self._stamped(line) for line in self._lines(happening, finished)]

    def rest(self) -> list[Line]:
        """What is still incomplete when the run has ended."""
        return [self._stamped(line) for line in self._texts(self.flow.flush())]

    def _lines(self, happening: Happening, finished: Task | None) -> Iterator[Line]:
        match happening:
            case Attempt(number=number) if number > 1:
                self._held.clear()
                self.flow.flush()
                yield Line(
                    f"attempt {number}: another worker goes on; the interrupted step starts again", "yellow"
                )
            case NodeFinished() if finished:
                yield from self._texts(self.flow.flush(finished.node))
                yield from self._finished(finished, happening.error)
            case Text(message=message, node=node, text=text):
                yield from self._texts(self.flow.feed(message, node, text))
            case ToolResult(tool=tool, text=text):
                yield Line(f"{tool} → {text}", "cyan")
            case Progress():
                yield Line(describe(happening), "dim")
            case Note(text=text):
                yield Line(text, "dim")
            case Attempt() | NodeStarted() | NodeFinished() | Failed():
                pass

    def _finished(self, task: Task, error: str | None) -> Iterator[Line]:
        if self._together and task.mark is Mark.DONE:
            self._held[task.node] += 1
            if task.node in self.journal.running():
                return
        name = count(task.node, self._held.pop(task.node, 0) or 1)
        took = duration((task.finished or 0.0) - task.started)
        reason = f"  {error}" if error else ""
        yield Line(f"{task.mark.value} {name}  {took}{reason}", STYLES[task.mark])

    def _texts(self, lines: list[tuple[str, str]]) -> Iterator[Line]:
        return (Line(f"{node} │ {text}") for node, text in lines)

    def _stamped(self, line: Line) -> Line:
        return Line(f"{self.journal.now:7.2f}  {line.text}", line.style)


def describe(progress: Progress) -> str:
    """Progress in words: `clean europe.csv 10/38`."""
    title = " ".join(filter(None, (progress.stage, progress.title)))
    return f"{title or 'progress'} {progress.done:g}/{progress.total:g}"
