"""Which nodes ran, and when, by the clock of whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from treadle.cli.happenings import Attempt, Happening, NodeFinished, NodeStarted

Clock = Callable[[], float]


class Mark(Enum):
    """How a node ended, and the sign for it."""

    DONE = "✓"
    ASKED = "?"
    FAILED = "✗"
    RUNNING = "-"


@dataclass
class Task:
    """One execution of a node; times in seconds since the run began."""

    node: str
    started: float
    finished: float | None = None
    mark: Mark = Mark.RUNNING


class Journal:
    """Keeps the tasks of a run in the order in which they began."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._zero = clock()
        self._tasks: dict[str, Task] = {}

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._zero

    @property
    def tasks(self) -> list[Task]:
        return list(self._tasks.values())

    def running(self) -> dict[str, list[Task]]:
        """The tasks that run now, by node."""
        by_node: dict[str, list[Task]] = {}
        for task in self._tasks.values():
            if task.finished is None:
                by_node.setdefault(task.node, []).append(task)
        return by_node

    def note(self, happening: Happening) -> Task | None:
        """Note what happened; returns the task that has finished by it."""
        match happening:
            case Attempt(number=number) if number > 1:
                self._forget_unfinished()
            case NodeStarted():
                self._tasks[happening.task] = Task(happening.node, self.now)
            case NodeFinished():
                return self._finish(happening)
            case _:
                pass
        return None

    def _finish(self, event: NodeFinished) -> Task:
        # A task that a former run on the thread has done is reported without a start.
        now = self.now
        task = self._tasks.setdefault(event.task, Task(event.node, now))
        task.finished = now
        task.mark = Mark.FAILED if event.error else Mark.ASKED if event.interrupted else Mark.DONE
        return task

    def _forget_unfinished(self) -> None:
        """Another worker has taken over: what was under way starts again."""
        self._tasks = {key: task for key, task in self._tasks.items() if task.finished is not None}
