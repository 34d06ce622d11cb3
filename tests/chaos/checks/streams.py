"""Streams: what clients read over all their connections, against what Redis keeps.

Where Redis itself was emptied, less is promised: what it kept is gone. Then ids still grow, and nothing comes twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence, Streamed
from treadle.streaming.batch import END

# What faults of Redis, and of the way to it, have in their names.
REDIS = ("Redis", "valkey")
# A worker that waits for an answer when Redis comes back gives up after 5 s, and has 2 s to connect anew
# (shared/treadle/streaming/connection.py).
RECONNECTED_SECS = 7.0
# What keeps the API from reading. It asks for the rest of a run that has ended for five seconds (REST_SECS of
# shared/treadle/streaming/hub.py), with pauses of up to two.
UNREADABLE = ("Redis: away", "Redis: hangs", "api to valkey is cut", "api to valkey is half-open")
UNREADABLE_SECS = 3.0


def place(event_id: str) -> tuple[int, int]:
    attempt, _, n = event_id.partition("-")
    return int(attempt), int(n)


def events_come_once_and_in_order(evidence: Evidence) -> Iterator[Found]:
    for followed in evidence.record.followed:
        places = [place(event_id) for event_id, _, _ in followed.parts]
        if places != sorted(set(places)):
            yield Found(f"events came twice or out of order: {places}", followed.run_id)


def resumed_streams_are_complete(evidence: Evidence) -> Iterator[Found]:
    """Whoever read a stream to its end has read all events that Redis keeps of it, each once, with what they say.

    A stream whose run ends while the API cannot reach Redis for long ends without what it could not read: Postgres tells the
    outcome.
    """
    if evidence.redis_lost:
        return
    for followed in evidence.record.followed:
        kept = [event for event in evidence.streams.get(followed.run_id, ()) if event.event != END]
        if not followed.ended or _removed(evidence, followed.run_id):
            continue
        read = [(event_id, event) for event_id, event, _ in followed.parts]
        run = evidence.runs[followed.run_id]
        if evidence.disturbed(run, RECONNECTED_SECS, UNREADABLE, lasting=UNREADABLE_SECS):
            known = {event_id for event_id, _ in read}
            kept = [event for event in kept if event.id in known]
        if read != [(event.id, event.event) for event in kept]:
            missing = {event.id for event in kept} - {event_id for event_id, _ in read}
            more = {event_id for event_id, _ in read} - {event.id for event in kept}
            yield Found(
                f"over {followed.connections} connections: missing {sorted(missing)}, unknown {sorted(more)}",
                followed.run_id,
            )
        elif [data for _, _, data in followed.parts] != [event.data for event in kept]:
            yield Found("events do not say what they said", followed.run_id)


def _removed(evidence: Evidence, run_id: str) -> bool:
    run = evidence.runs.get(run_id)
    return run is None or run.rolled_back


def attempts_leave_no_gaps(evidence: Evidence) -> Iterator[Found]:
    """Of runs during which Redis was there all the time: each attempt's events are numbered from 0 on without a gap, and
    those of each step that was committed by the attempt that ended the run are all there.

    The last events of an attempt that was killed may not have left its process: no one has ever seen them.
    """
    for run_id, events in evidence.streams.items():
        run = evidence.runs.get(run_id)
        if run is None or evidence.disturbed(run, RECONNECTED_SECS, REDIS):
            continue
        attempts: dict[int, list[Streamed]] = defaultdict(list)
        for event in events:
            attempts[event.attempt].append(event)
        for attempt, told in attempts.items():
            if [event.n for event in told] != list(range(len(told))):
                yield Found(f"attempt {attempt} has gaps: {[event.n for event in told]}", run_id)
        yield from _incomplete(evidence, run_id, attempts)


def _incomplete(evidence: Evidence, run_id: str, attempts: dict[int, list[Streamed]]) -> Iterator[Found]:
    run = evidence.runs.get(run_id)
    if run is None or run.end is None or run.end.status != "success" or not run.claims:
        return
    last = run.claims[-1].attempt
    told = [event.data for event in attempts.get(last, ()) if event.event == "custom"]
    for mark in evidence.marks_of.get(run_id, ()):
        if (
            mark.what == "end"
            and mark.attempt == last
            and (asked := evidence.asked.get(mark.label))
            and asked.work
        ):
            numbers = [data["n"] for data in told if (data["label"], data["step"]) == (mark.label, mark.step)]
            if numbers != list(range(asked.work.events)):
                yield Found(
                    f"step {mark.label}.{mark.step} streamed {numbers} of {asked.work.events}", run_id
                )
