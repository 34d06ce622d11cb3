"""Threads at rest: their values and their status follow from their runs."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.audit import RunHistory
from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence


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
        if state.values.get("done", []) != state.kept.get("done", []):
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
    """The step that the last run had finished when it was stopped before its checkpoint: its writes are kept, and langgraph
    shows them in the thread's state. (The next input drops them; a run that goes on from there takes them over.)"""
    ran = _in_order(runs)
    if not ran or (end := ran[-1].end) is None or end.status == "success":
        return
    for mark in evidence.marks_of.get(ran[-1].first.run_id, ()):
        if mark.what == "end" and not evidence.zombie(mark) and mark.step == made.get(mark.label, 0):
            yield f"{mark.label}.{mark.step}"
            return


def _unfinished(evidence: Evidence, runs: list[RunHistory], made: dict[str, int]) -> Iterator[Found]:
    """A run that succeeded did all its steps, or those up to its question."""
    for run in _in_order(runs):
        asked = evidence.asked.get(run.first.label or "")
        if run.end is None or run.end.status != "success" or asked is None or asked.work is None:
            continue
        wanted = asked.work.steps if asked.work.ask < 0 else asked.work.ask
        if made.get(asked.label, 0) < wanted:
            yield Found(f"succeeded with {made.get(asked.label, 0)} of {wanted} steps", run.first.run_id)


def statuses_are_what_the_runs_say(evidence: Evidence) -> Iterator[Found]:
    """By the run that ended last of those that ran: `error` after a failure, `interrupted` where steps wait, else `idle`."""
    for thread_id, runs in evidence.history.threads.items():
        state = evidence.states.get(thread_id)
        if state is None or evidence.restless:
            continue
        ended = [run for run in _in_order(runs) if run.end is not None]
        failed = bool(ended) and ended[-1].end is not None and ended[-1].end.status in ("error", "timeout")
        expected = "error" if failed else "interrupted" if state.next else "idle"
        if state.status != expected:
            yield Found(f"is {state.status} and should be {expected}", None, thread_id)
