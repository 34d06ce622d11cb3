"""A thread's state as the API shows it."""

from __future__ import annotations

from typing import Any

from langgraph.types import StateSnapshot


def interrupts_of(snapshot: StateSnapshot) -> dict[str, list[dict[str, Any]]]:
    """The interrupts that wait for an answer, by the id of the task that raised them."""
    return {
        task.id: [{"id": interrupt.id, "value": interrupt.value} for interrupt in task.interrupts]
        for task in snapshot.tasks
        if task.interrupts
    }
