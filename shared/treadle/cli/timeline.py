"""The picture of a run: one row per node, with a bar for the time in which it ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from treadle.cli.journal import Journal, Mark, Task

MAX_ROWS = 20
_BAR = 40
_NAME = 36
# What a row shows when its tasks ended in several ways.
_GRAVITY = (Mark.FAILED, Mark.RUNNING, Mark.ASKED, Mark.DONE)


Span = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """From the first to the last moment in which a node ran."""

    start: float
    end: float

    @classmethod
    def over(cls, spans: Sequence[Span]) -> Scale:
        return cls(
            min((start for start, _ in spans), default=0.0), max((stop for _, stop in spans), default=0.0)
        )

    def bar(self, spans: Sequence[Span]) -> str:
        """A cell is full where a task ran; the shortest task fills one."""
        cells = ["·"] * _BAR
        for start, stop in spans:
            first, last = self._cell(start), self._cell(stop)
            cells[first : last + 1] = "█" * (last + 1 - first)
        return "".join(cells)

    def _cell(self, moment: float) -> int:
        length = self.end - self.start
        return min(int((moment - self.start) / length * _BAR), _BAR - 1) if length else 0


@dataclass(frozen=True)
class Row:
    """One node with all its tasks."""

    mark: Mark
    text: str


def draw(journal: Journal) -> list[Row]:
    """The rows, in the order in which the nodes first ran; the last MAX_ROWS when there are more."""
    groups: dict[str, list[Task]] = {}
    for task in journal.tasks:
        groups.setdefault(task.node, []).append(task)
    names = {node: _label(node, len(tasks)) for node, tasks in groups.items()}
    width = max(map(len, names.values()), default=0)
    spans = {node: [_span(task, journal) for task in tasks] for node, tasks in groups.items()}
    scale = Scale.over(list(chain.from_iterable(spans.values())))
    return [
        Row(
            _mark(tasks),
            f"{names[node].ljust(width)}  {scale.bar(spans[node])}  {duration(covered(spans[node]))}",
        )
        for node, tasks in list(groups.items())[-MAX_ROWS:]
    ]


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 60 else f"{int(seconds // 60)} min {seconds % 60:.0f} s"


def count(node: str, times: int) -> str:
    """A node with how often it ran."""
    return node if times == 1 else f"{node} ×{times}"  # noqa: RUF001 - a multiplication sign


def _label(node: str, times: int) -> str:
    name = node if len(node) <= _NAME else f"…{node[1 - _NAME :]}"
    return count(name, times)


def _span(task: Task, journal: Journal) -> Span:
    return task.started, journal.now if task.finished is None else task.finished


def _mark(tasks: Sequence[Task]) -> Mark:
    return next(mark for mark in _GRAVITY if any(task.mark is mark for task in tasks))


def covered(spans: Sequence[Span]) -> float:
    """The time in which at least one of the tasks ran."""
    total, reached = 0.0, 0.0
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, reached))
        reached = max(reached, stop)
    return total
