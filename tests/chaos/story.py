"""The story of a run, or of all runs of a thread: what everybody saw of it, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tests.chaos.audit import RunHistory
from tests.chaos.evidence import Evidence, Violation

MOST_LINES = 200
MOST_LOG_LINES = 30

Line = tuple[datetime, str]


def story_of(evidence: Evidence, violation: Violation) -> list[str]:
    """What there is to tell of the run or thread that a violation names; nothing, if it names none."""
    if (run := evidence.runs.get(violation.run_id or "")) is not None:
        runs = [run]
    else:
        runs = evidence.history.threads.get(violation.thread_id or "", [])
    lines = sorted(line for run in runs for line in _lines(evidence, run))
    told = [f"{at:%H:%M:%S.%f} {text}" for at, text in lines[:MOST_LINES]]
    return [*told, *(line for run in runs for line in _logged(evidence, run.first.run_id))]


def _lines(evidence: Evidence, run: RunHistory) -> Iterator[Line]:
    label = run.first.label or run.first.run_id
    if (asked := evidence.asked.get(label)) is not None:
        yield (
            asked.sent_at,
            f"{label}: asked for by {asked.how}, {asked.strategy}: {asked.work} {asked.problem}",
        )
        if asked.answered_at is not None:
            yield asked.answered_at, f"{label}: {asked.outcome}"
    for change in run.changes:
        what = "gone" if change.gone else change.status
        more = f" cancel={change.cancel_action}" if change.cancel_action else ""
        yield change.at, f"{label}: {what}, attempt {change.attempt}, crashes {change.crashes}{more}"
    for lease in run.leases:
        yield lease.at, f"{label}: attempt {lease.attempt} leased to {lease.worker}"
    for checkpoint in run.checkpoints:
        what = "removed" if checkpoint.gone else f"committed by attempt {checkpoint.attempt}"
        where = f"{checkpoint.checkpoint_id[-12:]} behind {(checkpoint.parent_id or '')[-12:]}"
        holds = f"{checkpoint.source}, {checkpoint.label} at {checkpoint.step}"
        yield checkpoint.at, f"{label}: checkpoint {where} ({holds}) {what}"
    for mark in evidence.marks_of.get(run.first.run_id, ()):
        zombie = ", a zombie" if evidence.zombie(mark) else ""
        yield (
            mark.at,
            f"{label}: {mark.what} {mark.label}.{mark.step}, attempt {mark.attempt} in {mark.pid}{zombie}",
        )
    for cancel in evidence.record.cancels_of().get(run.first.run_id, ()):
        yield cancel.sent_at, f"{label}: cancel asked for, {cancel.action}"
        if cancel.answered_at is not None:
            yield cancel.answered_at, f"{label}: cancel answered: {cancel.problem or 'yes'}"
    yield from _followed(evidence, run.first.run_id, label)


def _followed(evidence: Evidence, run_id: str, label: str) -> Iterator[Line]:
    """Streams have no times of their own: they are told with the run's begin."""
    at = evidence.runs[run_id].first.at
    for followed in evidence.record.followed:
        if followed.run_id == run_id:
            ids = [event_id for event_id, _, _ in followed.parts]
            yield at, f"{label}: read {ids} over {followed.connections} connections; {followed.problems}"
    if run_id in evidence.streams:
        yield at, f"{label}: Redis keeps {[event.id for event in evidence.streams[run_id]]}"


def _logged(evidence: Evidence, run_id: str) -> Iterator[str]:
    for service, log in evidence.logs.items():
        told = [line for line in log if run_id in line]
        yield from (f"{service}: {line}" for line in told[:MOST_LOG_LINES])
