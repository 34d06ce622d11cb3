"""Cancelled means cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tests.chaos.checks.found import Found
from tests.chaos.checks.steps import LEARNS_SECS
from tests.chaos.evidence import Evidence


def accepted_cancels_are_obeyed(evidence: Evidence) -> Iterator[Found]:
    """A cancel that was answered with yes decides how its run ends, whenever the answer came: runs that have ended are not
    cancelled but answered with 404. Of several, a rollback stands. (That none is rolled back unasked, `runs` checks.)"""
    for run_id, cancels in evidence.record.cancels_of().items():
        run = evidence.runs.get(run_id)
        accepted = {cancel.action for cancel in cancels if cancel.accepted}
        if run is None or run.end is None or not accepted:
            continue
        if not (run.end.gone or run.end.status == "interrupted"):
            yield Found(f"was cancelled and ended as {run.end.status}", run_id, run.first.thread_id)
        elif "rollback" in accepted and not run.end.gone:
            yield Found("was to be rolled back and is kept", run_id, run.first.thread_id)


def no_step_begins_long_after_a_cancel(evidence: Evidence) -> Iterator[Found]:
    """The worker learns of a cancel at its next heartbeat; one that cannot reach Postgres stops before its lease ends."""
    for run_id, run in evidence.runs.items():
        told = next((change for change in run.changes if change.cancel_action is not None), None)
        if told is None:
            continue
        for mark in evidence.marks_of.get(run_id, ()):
            held = [
                until for since, until in evidence.held_up(mark.pid) if since <= mark.at and until >= told.at
            ]
            knew = max([told.at, *(end for end in held if end <= mark.at)])
            if mark.what == "start" and mark.at > knew + timedelta(seconds=LEARNS_SECS):
                yield Found(f"{mark} although it was cancelled at {told.at}", run_id, run.first.thread_id)
