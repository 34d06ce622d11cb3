"""What `treadle run` was asked to do, and how its run ended."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from treadle.cli.jsonarg import Given

DEFAULT_URL = "http://127.0.0.1:2024"


@dataclass(frozen=True)
class Request:
    """The arguments of the command, checked. Exactly one of `input` and `resume` is given."""

    graph: str
    url: str = DEFAULT_URL
    thread: str | None = None
    input: Given | None = None
    resume: Given | None = None
    config: Any = None
    context: Any = None

    def follow_up(self, thread: str, option: str) -> str:
        """The command that goes on with the thread of this run."""
        command = ["treadle", "run", self.graph, "--thread", thread]
        if self.url != DEFAULT_URL:
            command += ["--url", self.url]
        return f"{shlex.join(command)} {option}"


class Status(Enum):
    """How a run ended, as `treadle run` sees it; with the exit code that says so."""

    SUCCESS = "success"
    QUESTION = "interrupted"
    ERROR = "error"
    TIMEOUT = "timeout"
    STOPPED = "stopped"
    """Cancelled by someone else."""
    CANCELLED = "cancelled"
    """Cancelled by Ctrl-C."""

    @property
    def exit_code(self) -> int:
        if self in {Status.SUCCESS, Status.QUESTION}:
            return 0
        return 130 if self is Status.CANCELLED else 1


@dataclass(frozen=True)
class Question:
    """An interrupt that waits for an answer."""

    id: str
    value: Any


@dataclass(frozen=True)
class Outcome:
    """What is left of a run when it has ended."""

    status: Status
    run: str
    thread: str
    seconds: float
    values: Any = None
    questions: Sequence[Question] = ()
    error: str | None = None
