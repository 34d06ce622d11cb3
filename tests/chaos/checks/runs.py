"""Runs: accepted, ended once, in order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.audit import RunHistory
from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence
from tests.chaos.record import Asked
from tests.chaos.settings import RUN_SECS


def accepted_runs_exist(evidence: Evidence) -> Iterator[Found]:
    """What was answered with yes is there, and what NATS has stored has become a run unless NATS has lost its data."""
    labels = {run.first.label for run in evidence.runs.values()}
    kept = evidence.published is not None
    for asked in evidence.record.asked:
        lost = asked.label not in labels
        if asked.outcome == "accepted" and lost:
            yield Found(f"{asked.label} was accepted and there is no such run", asked.run_id, asked.thread_id)
        if asked.outcome == "stored" and lost and kept:
            yield Found(f"{asked.label} was stored by NATS and has made no run", None, asked.thread_id)
        if asked.outcome == "refused" and not lost:
            yield Found(f"{asked.label} was refused and there is such a run", None, asked.thread_id)


def each_request_makes_one_run(evidence: Evidence) -> Iterator[Found]:
    made = Counter(run.first.label for run in evidence.runs.values())
    for label, count in made.items():
        if count > 1 or label not in evidence.asked:
            yield Found(f"{count} runs of the request {label}")


def each_run_ends_once(evidence: Evidence) -> Iterator[Found]:
    for run_id, run in evidence.runs.items():
        ends = [change for change in run.changes if change.ended]
        if not ends and not evidence.restless:
            yield Found(f"has not ended, and is {run.last.status}", run_id, run.first.thread_id)
        if ends and run.changes[-1] is not ends[0]:
            yield Found("changed after it had ended", run_id, run.first.thread_id)


def outcomes_are_what_the_graph_did(evidence: Evidence) -> Iterator[Found]:
    """Success, unless it was told to fail, was cancelled, or took longer than a run may."""
    for run_id, run in evidence.runs.items():
        if (end := run.end) is None or (asked := evidence.asked.get(run.first.label or "")) is None:
            continue
        if ("rolled back" if end.gone else end.status) not in _outcomes(evidence, run, asked):
            status = "rolled back" if end.gone else end.status
            yield Found(f"ended as {status} ({end.error}), of {asked.work}", run_id, run.first.thread_id)


def _outcomes(evidence: Evidence, run: RunHistory, asked: Asked) -> Iterator[str]:
    """How a run may end, by what the clients asked for: not by what the system says of it."""
    end, task = run.end, asked if asked.work is not None else evidence.question(run)
    assert end is not None
    stops = evidence.stops(run)
    if "rollback" in stops:
        yield "rolled back"
    if "interrupt" in stops:
        yield "interrupted"
    if not run.claims:
        return
    harm = "" if task is None or task.work is None else task.work.harm
    if harm in ("fail", "hoard") or evidence.without_memory(run):
        yield "error"
    if harm not in ("fail", "hoard", "forever"):
        yield "success"
    if (end.at - run.claims[-1].at).total_seconds() >= RUN_SECS:
        yield "timeout"


def seq_is_the_order_in_which_clients_were_answered(evidence: Evidence) -> Iterator[Found]:
    """A run that was asked for after another one of its thread was accepted comes after it."""
    by_label = {run.first.label: run for run in evidence.runs.values()}
    threads: dict[str, list[tuple[Asked, RunHistory]]] = defaultdict(list)
    for asked in evidence.record.asked:
        if asked.label in by_label:
            threads[asked.thread_id].append((asked, by_label[asked.label]))
    for thread_id, asks in threads.items():
        for one, first in asks:
            for other, second in asks:
                later = one.answered_at is not None and one.answered_at < other.sent_at
                if later and first.first.seq > second.first.seq:
                    yield Found(f"{other.label} came before {one.label}", None, thread_id)


def threads_run_in_order(evidence: Evidence) -> Iterator[Found]:
    """The rule of migrations/0013_run_order.sql: one that has begun goes on before any other begins; then as accepted,
    but for those that were not due yet."""
    for thread_id, runs in evidence.history.threads.items():
        begun = sorted((run for run in runs if run.claims), key=lambda run: run.claims[0].id)
        for one, other in pairwise(begun):
            if one.end is None or one.end.id > other.claims[0].id:
                yield Found(f"{other.first.label} began before {one.first.label} ended", None, thread_id)
        for place, run in enumerate(begun):
            decided = run.claims[0].started_at
            assert decided is not None
            for earlier in begun[place + 1 :]:
                due = earlier.first.not_before is None or earlier.first.not_before <= decided
                if earlier.first.seq < run.first.seq and due:
                    yield Found(f"{run.first.label} began before {earlier.first.label}", None, thread_id)


def lifecycle_events_tell_what_happened(evidence: Evidence) -> Iterator[Found]:
    """Each change of status and attempt is published, in the order of its thread."""
    if evidence.published is None or evidence.restless:
        return
    told: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for event in evidence.published:
        entry = (event.run_id, event.attempt, event.status)
        if entry not in told[event.thread_id]:  # at least once
            told[event.thread_id].append(entry)
    for thread_id, runs in evidence.history.threads.items():
        changes = sorted((change for run in runs for change in _told(run)), key=lambda change: change[0])
        happened = [entry for _, entry in changes]
        if happened != told[thread_id]:
            missing = [entry for entry in happened if entry not in told[thread_id]]
            yield Found(
                f"{len(missing)} of {len(happened)} were not told, first {missing[:1]}", None, thread_id
            )


def _told(run: RunHistory) -> Iterator[tuple[int, tuple[str, int, str]]]:
    """What is told of a run: (id of the change, (run, attempt, status))."""
    for before, change in zip([None, *run.changes], run.changes, strict=False):
        entry = (change.run_id, change.attempt, "rolled_back" if change.gone else change.status)
        if (
            before is None
            or change.gone
            or (before.status, before.attempt) != (change.status, change.attempt)
        ):
            yield change.id, entry
