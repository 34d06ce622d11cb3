"""What a later attempt of a run goes on with, after its worker died or handed it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from langgraph.types import Command
from msgspec import structs

from treadle.checkpoint.savers import Savers
from treadle.checkpoint.state import readable_state
from treadle.db.pool import postgres_errors
from treadle.db.runs import Progress, Runs
from treadle.graphs.loader import Graph
from treadle.model import MultitaskStrategy, Run
from treadle_worker.inputs import graph_input, starting_place


async def resumes(run: Run, savers: Savers, runs: Runs) -> bool:
    """Whether an attempt goes on where an earlier one got to: of this run, or of one in whose place it stands."""
    before = [UUID(run_id) for run_id in cast("list[str]", run.kwargs.get("continues", ()))]
    for run_id in [*([run.run_id] if run.attempt > 1 else []), *reversed(before)]:
        if goes_on(run, await savers.progress(structs.replace(run, run_id=run_id))):
            return True
    return await _too_late(run, savers, runs)


async def _too_late(run: Run, savers: Savers, runs: Runs) -> bool:
    """Whether the answer that this run interrupted was taken already, and the thread has gone on from there.

    Then this one has come too late: it goes on without its own, which would be taken for the answer to whatever is asked next.
    """
    if run.multitask_strategy != MultitaskStrategy.INTERRUPT or starting_place(run):
        return False
    if (run.kwargs.get("command") or {}).get("resume") is None:
        return False
    with postgres_errors("looking for answers"):
        before = await runs.answers_before(run)
    for run_id in before:
        progress = await savers.progress(structs.replace(run, run_id=run_id))
        if progress.checkpointed or progress.answered:
            return True
    return False


def goes_on(run: Run, progress: Progress) -> bool:
    """Whether the newest checkpoint is where an earlier attempt got to.

    Not so for a run that begins in the thread's past and has no checkpoint of its own yet: the newest one is that
    of another branch. It starts anew, where it was told to.
    """
    return progress.checkpointed or (progress.written and not starting_place(run))


async def given_to(graph: Graph, run: Run) -> Any:
    """What a run begins with: its input or its command.

    Answers that a RemoteGraph passes on may be for questions of other graphs. Where its thread has nothing yet, nothing goes on:
    the run begins with the input that came along.
    """
    if run.kwargs.get("remote") and run.kwargs.get("input") is not None:
        snapshot = await readable_state(graph, {"configurable": {"thread_id": str(run.thread_id)}})
        if snapshot.created_at is None:
            return run.kwargs["input"]
    return graph_input(run)


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
