"""Which thread and run a task is."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID


class TaskId(NamedTuple):
    """A task is a run and those that continue it; its id names the first of them, and the thread: its context."""

    thread_id: UUID
    run_id: UUID

    def __str__(self) -> str:
        return f"{self.thread_id}:{self.run_id}"

    @classmethod
    def parse(cls, text: str) -> TaskId | None:
        """None where the text is no id that Treadle gives out."""
        thread, _, run = text.partition(":")
        try:
            return cls(UUID(thread), UUID(run))
        except ValueError:
            return None
