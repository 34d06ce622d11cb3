"""What a later attempt of a run goes on with, after its worker died or handed it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from langgraph.types import Command
from msgspec import structs

from treadle.checkpoint.savers import Savers
from treadle.checkpoint.state import readable_state
from treadle.db.runs import Progress
from treadle.graphs.loader import Graph
from treadle.model import Run
from treadle_worker.inputs import starting_place


async def resumes(run: Run, savers: Savers) -> bool:
    """Whether an attempt goes on where an earlier one got to: of this run, or of a dead one in whose place it stands."""
    before = [UUID(run_id) for run_id in cast("list[str]", run.kwargs.get("continues", ()))]
    for run_id in [*([run.run_id] if run.attempt > 1 else []), *reversed(before)]:
        if goes_on(run, await savers.progress(structs.replace(run, run_id=run_id))):
            return True
    return False


def goes_on(run: Run, progress: Progress) -> bool:
    """Whether the newest checkpoint is where an earlier attempt got to.

    Not so for a run that begins in the thread's past and has no checkpoint of its own yet: the newest one is that
    of another branch. It starts anew, where it was told to.
    """
    return progress.checkpointed or (progress.written and not starting_place(run))


async def answers_left(graph: Graph, run: Run) -> Command[Any] | None:
    """The answers by id that no task has taken, as a command; None: there are none, and the graph just goes on.

    langgraph keeps a single answer with the thread before anything runs, but answers by id only with the tasks that
    took them: an attempt that died before has taken the others with it.
    """
    command = cast("Mapping[str, Any]", run.kwargs.get("command") or {})
    answers = command.get("resume")
    if not isinstance(answers, Mapping):
        return None
    snapshot = await readable_state(graph, {"configurable": {"thread_id": str(run.thread_id)}})
    waiting = {interrupt.id for interrupt in snapshot.interrupts}
    given = cast("Mapping[str, Any]", answers)
    left = {question: answer for question, answer in given.items() if question in waiting}
    return Command(resume=left) if left else None
