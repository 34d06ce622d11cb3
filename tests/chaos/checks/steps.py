"""Steps: what the graph itself has marked, against what was committed.

A zombie is an attempt that was over while its process had not learned of it: the process was frozen or blocked, or cut off
from Postgres. What its code had begun goes on until it is stopped: nobody can take it back. So marks of zombies are no
violation as such. They are counted, they must end soon after the process can know, and nothing of them may be committed.
An attempt that its own worker has ended is none: there all code has come to its end, or was stopped.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from tests.chaos.audit import RunHistory
from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence
from tests.chaos.settings import LEASE_SECS
from tests.chaos.witness import Mark

# How long after it was over, or its process woke, an attempt may begin steps: on a machine that is busy, loops lag.
LEARNS_SECS = LEASE_SECS + 1.0


# What a node that is stopped had sent to the witness may still be written there: one mark, within this time.
IN_FLIGHT_SECS = 1.0


def no_two_runs_of_a_thread_overlap(evidence: Evidence) -> Iterator[Found]:
    """Between the first and the last mark of a run there is none of another run of its thread, zombies apart."""
    for thread_id, runs in evidence.history.threads.items():
        own = {run.first.run_id for run in runs}
        marks = sorted(
            (
                mark
                for run_id in own
                for mark in evidence.marks_of.get(run_id, ())
                if not evidence.zombie(mark)
            ),
            key=lambda mark: mark.at,
        )
        seen: list[str] = []
        for mark in marks:
            if mark.run_id in seen[:-1]:
                yield Found(f"{mark} came after another run had begun", mark.run_id, thread_id)
            if mark.run_id not in seen:
                seen.append(mark.run_id)


def no_step_begins_twice_in_an_attempt(evidence: Evidence) -> Iterator[Found]:
    begun = Counter((m.run_id, m.attempt, m.label, m.step) for m in evidence.marks if m.what == "start")
    for (run_id, attempt, label, step), count in begun.items():
        if count > 1:
            yield Found(f"step {label}.{step} began {count} times in attempt {attempt}", run_id)


def committed_steps_do_not_run_again(evidence: Evidence) -> Iterator[Found]:
    """Under any durability: an attempt goes on at the newest checkpoint. (Under `sync` each step has one.)"""
    for mark in evidence.marks:
        if mark.what != "start" or evidence.zombie(mark) or mark.run_id not in evidence.runs:
            continue
        for checkpoint in evidence.runs[mark.run_id].checkpoints:
            done = (
                not checkpoint.gone and checkpoint.label == mark.label and (checkpoint.step or 0) > mark.step
            )
            if done and checkpoint.at < mark.at:
                yield Found(f"{mark} although {checkpoint} was committed", mark.run_id)
                break


def sync_commits_before_the_next_step(evidence: Evidence) -> Iterator[Found]:
    """Under `sync` a step begins only when the checkpoint of the one before it is committed."""
    for run_id, run in evidence.runs.items():
        if run.first.durability != "sync":
            continue
        first: dict[tuple[int, str], int] = {}
        for mark in (mark for mark in evidence.marks_of.get(run_id, ()) if mark.what == "start"):
            began = first.setdefault((mark.attempt, mark.label), mark.step)
            committed = any(
                checkpoint.label == mark.label and checkpoint.step == mark.step and checkpoint.at <= mark.at
                for checkpoint in run.checkpoints
            )
            if mark.step > began and not committed:
                yield Found(f"{mark} without a checkpoint before it", run_id)


def nothing_goes_on_when_its_worker_has_ended_an_attempt(evidence: Evidence) -> Iterator[Found]:
    """A worker ends an attempt, or hands it back, when its code has come to its end or was stopped."""
    left: dict[tuple[str, int], list[Mark]] = defaultdict(list)
    for mark in evidence.marks:
        if evidence.straggler(mark):
            left[mark.run_id, mark.attempt].append(mark)
    for (run_id, attempt), marks in left.items():
        over = evidence.runs[run_id].over(attempt)
        assert over is not None
        in_flight = evidence.zombie(marks[0]) and marks[-1].at - over < timedelta(seconds=IN_FLIGHT_SECS)
        if len(marks) > 1 or not in_flight:
            yield Found(f"{marks[-1]} although its worker had ended it at {over}", run_id)


def successful_runs_did_their_steps(evidence: Evidence) -> Iterator[Found]:
    """Each step that was due was done to its end: by the run, or for an answer by the runs that had begun before it."""
    for run_id, run in evidence.runs.items():
        asked = evidence.asked.get(run.first.label or "")
        if run.end is None or run.end.gone or run.end.status != "success" or asked is None:
            continue
        task = asked if asked.work is not None else evidence.question(run)
        if task is None or task.work is None:
            yield Found("succeeded although there was nothing to answer", run_id, run.first.thread_id)
            continue
        asks = asked is task and task.work.ask >= 0
        done = {mark.step for mark in _done(evidence, run, task.label)}
        missing = set(range(task.work.ask if asks else task.work.steps)) - done
        if missing:
            yield Found(f"succeeded without the steps {sorted(missing)} of {task.label}", run_id)


def _done(evidence: Evidence, run: RunHistory, label: str) -> Iterator[Mark]:
    """The steps of a label that were done by the end of a run, zombies apart."""
    for other in evidence.history.threads[run.first.thread_id]:
        for mark in evidence.marks_of.get(other.first.run_id, ()):
            in_time = run.end is not None and mark.at <= run.end.at
            if in_time and mark.what == "end" and mark.label == label and not evidence.zombie(mark):
                yield mark


def zombies_stop_soon(evidence: Evidence) -> Iterator[Found]:
    """No step begins or ends long after its attempt was over, counted from when the process could know."""
    for mark in evidence.marks:
        if mark.what in ("start", "end") and evidence.zombie(mark):
            over = evidence.runs[mark.run_id].over(mark.attempt)
            assert over is not None
            late = mark.at - _could_know(evidence, mark, over)
            if late > timedelta(seconds=LEARNS_SECS):
                yield Found(f"{mark} came {late.total_seconds():.1f} s late", mark.run_id)


def _could_know(evidence: Evidence, mark: Mark, over: datetime) -> datetime:
    """When the process of a mark could know of a moment: then, or as soon as it was no longer held up."""
    ends = [until for since, until in evidence.held_up(mark.pid) if since <= mark.at and until >= over]
    return max([over, *(end for end in ends if end <= mark.at)], default=over)


def nothing_is_written_after_an_attempt_is_over(evidence: Evidence) -> Iterator[Found]:
    """The fence: a takeover, a hand-over and an end wait for writes under way, and refuse all that come later."""
    for run_id, run in evidence.runs.items():
        for checkpoint in run.checkpoints:
            over = run.over(checkpoint.attempt or 0)
            if not checkpoint.gone and over is not None and checkpoint.at > over:
                yield Found(f"{checkpoint} was written after {over}", run_id)


def checkpoints_are_one_chain(evidence: Evidence) -> Iterator[Found]:
    """No two checkpoints that are kept have the same parent: a second one would be another attempt's branch."""
    parents: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for run in evidence.runs.values():
        gone = {checkpoint.checkpoint_id for checkpoint in run.checkpoints if checkpoint.gone}
        for checkpoint in run.checkpoints:
            if not checkpoint.gone and checkpoint.checkpoint_id not in gone and not checkpoint.ns:
                parents[checkpoint.thread_id, checkpoint.parent_id].append(checkpoint.checkpoint_id)
    for (thread_id, parent), children in parents.items():
        if len(children) > 1:
            yield Found(f"{children} all follow {parent}", None, thread_id)
