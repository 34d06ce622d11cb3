"""Threads at rest: their values and their status follow from their runs."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.audit import RunHistory
from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence, ThreadState
from tests.chaos.record import Asked
from tests.chaos.settings import LEASE_SECS


def values_are_what_the_runs_made(evidence: Evidence) -> Iterator[Found]:
    """The steps of all runs that were not rolled back, in the order in which the runs ran, each once: as far as they were
    committed, and to the end where a run succeeded."""
    for thread_id, runs in evidence.history.threads.items():
        state = evidence.states.get(thread_id)
        if state is None or evidence.restless:
            continue
        made = made_by(runs)
        steps = [f"{label}.{n}" for label, count in made.items() for n in range(count)]
        if state.kept.get("done", []) not in (steps, [*steps, *_pending(evidence, runs, made)]):
            yield Found(f"its state has {state.kept.get('done', [])}, its runs made {steps}", None, thread_id)
        if state.values.get("done", []) != state.kept.get("done", []) and not _stale(evidence, runs):
            yield Found(
                f"it shows {state.values.get('done')}, its state has {state.kept.get('done')}",
                None,
                thread_id,
            )
        yield from _unfinished(evidence, runs, made)


def _in_order(runs: list[RunHistory]) -> list[RunHistory]:
    return sorted(
        (run for run in runs if run.claims and not run.rolled_back), key=lambda run: run.claims[0].id
    )


def made_by(runs: list[RunHistory]) -> dict[str, int]:
    """How many steps of each label the checkpoints of a thread's runs hold, the labels in the order of their begin."""
    reached: dict[str, int] = {}
    for run in _in_order(runs):
        for checkpoint in run.checkpoints:
            if checkpoint.label is not None and checkpoint.step is not None and not checkpoint.gone:
                reached[checkpoint.label] = max(reached.get(checkpoint.label, 0), checkpoint.step)
    return reached


def _pending(evidence: Evidence, runs: list[RunHistory], made: dict[str, int]) -> Iterator[str]:
    """The step that a run had finished when it was stopped before its checkpoint: its writes are kept, and langgraph shows
    them in the thread's state, until another run leaves a checkpoint. (A new input drops them; a run that goes on from there
    takes them over.)"""
    for run in _since_the_last_checkpoint(_in_order(runs)):
        if run.end is None or run.end.status == "success":
            continue
        for mark in evidence.marks_of.get(run.first.run_id, ()):
            if mark.what == "end" and not evidence.zombie(mark) and mark.step == made.get(mark.label, 0):
                yield f"{mark.label}.{mark.step}"
                return


def _since_the_last_checkpoint(ran: list[RunHistory]) -> list[RunHistory]:
    """The last run that left a checkpoint, and those that came after it."""
    left = [n for n, run in enumerate(ran) if any(not checkpoint.gone for checkpoint in run.checkpoints)]
    return ran[max(left, default=0) :]


def _unfinished(evidence: Evidence, runs: list[RunHistory], made: dict[str, int]) -> Iterator[Found]:
    """A run that succeeded has committed all its steps, or those up to its question; an answer, all of what it answers."""
    for run in _in_order(runs):
        asked = evidence.asked.get(run.first.label or "")
        if run.end is None or run.end.status != "success" or asked is None:
            continue
        task = asked if asked.work is not None else evidence.question(run)
        if task is None or task.work is None:
            continue
        wanted = task.work.ask if _asks(asked) else task.work.steps
        if made.get(task.label, 0) < wanted:
            yield Found(f"succeeded with {made.get(task.label, 0)} of {wanted} steps", run.first.run_id)


def _asks(asked: Asked | None) -> bool:
    """Whether a run that succeeds has stopped at a question."""
    return asked is not None and asked.work is not None and asked.work.ask >= 0


def _stale(evidence: Evidence, runs: list[RunHistory]) -> bool:
    """Whether a thread may show what it had before its last run: one that was cancelled and ended without its worker, which
    alone can read the state. That is not promised; see `truthful` of tests/chaos/thread/model.py. It takes a fault."""
    ran = _in_order(runs)
    end = ran[-1].end if ran else None
    return end is not None and end.without_its_worker and evidence.disturbed(ran[-1], LEASE_SECS)


def statuses_are_what_the_runs_say(evidence: Evidence) -> Iterator[Found]:
    """By the run that ended last of those that ran: `error` after a failure, `interrupted` at a question, or where a cancel
    has left steps to do, else `idle`."""
    for thread_id, runs in evidence.history.threads.items():
        state = evidence.states.get(thread_id)
        if state is None or evidence.restless:
            continue
        ended = [run for run in _in_order(runs) if run.end is not None]
        if _stale(evidence, ended) and state.status != "busy":
            continue
        expected = _rests_as(evidence, ended, state)
        if state.status != expected:
            yield Found(f"is {state.status} and should be {expected}", None, thread_id)


def _rests_as(evidence: Evidence, ended: list[RunHistory], state: ThreadState) -> str:
    last = ended[-1] if ended else None
    if last is None or last.end is None:
        return "idle"
    if last.end.status in ("error", "timeout"):
        return "error"
    waits = (
        _asks(evidence.asked.get(last.first.label or ""))
        if last.end.status == "success"
        else bool(state.next)
    )
    return "interrupted" if waits else "idle"
