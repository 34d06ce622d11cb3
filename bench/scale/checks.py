"""The model held against what the simulation has counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from bench.scale.counters import OF_A_RUN
from bench.scale.fleet import Fleet
from bench.scale.model import FIRST_AND_END, RUN_EVENTS, predict
from bench.scale.simulation import Simulated, Spans

# A check fails that is off by more.
TOLERANCE = 0.15


class Check(NamedTuple):
    """One figure of the model beside what was counted. `bound`: the model says no more than "at most"."""

    span: str
    name: str
    model: float
    measured: float
    unit: str = ""
    bound: bool = False

    @property
    def ratio(self) -> float:
        if self.model:
            return self.measured / self.model
        return math.inf if self.measured else 1.0

    @property
    def holds(self) -> bool:
        return self.ratio <= 1 if self.bound else abs(self.ratio - 1) <= TOLERANCE


def checks(fleet: Fleet, spans: Spans, simulated: Simulated) -> list[Check]:
    """All of them, span by span."""
    return [
        *_at_rest(fleet, simulated),
        *_quiet(fleet, simulated),
        *_talk(fleet, spans, simulated),
        *_runs(fleet, spans, simulated),
    ]


def _at_rest(fleet: Fleet, simulated: Simulated) -> Sequence[Check]:
    """Everything has started, and nothing is asked."""
    model = predict(replace(fleet, sessions=0, run_secs=math.inf))
    there, idle = simulated.at_rest.counted, simulated.idle
    found = {
        "Postgres connections, at rest": there["postgres connections"],
        "NATS connections": there["nats connections"],
        "pull requests open": there["TREADLE_RUNS pulls open"],
        "pull requests": idle.rate("nats in from workers"),
        "messages into NATS": idle.rate("nats in"),
        "statements besides": idle.rate("sql besides"),
    }
    return [Check("idle", name, model[name].value, value, model[name].unit) for name, value in found.items()]


def _quiet(fleet: Fleet, simulated: Simulated) -> Sequence[Check]:
    """All runs are on, and say nothing."""
    model = predict(replace(fleet, run_secs=math.inf, events_per_sec=0))
    there, quiet = simulated.held.counted, simulated.quiet
    updates = quiet.counted["sql heartbeat"]
    found = {
        "Redis connections": there["redis connections"],
        "lease UPDATEs": quiet.rate("sql heartbeat"),
        "leases of an UPDATE": quiet.counted["sql leases"] / max(updates, 1),
        "leases extended": quiet.rate("sql leases"),
        "in_progress messages": quiet.rate("nats in from leases"),
        "wake-ups held unacknowledged": there["TREADLE_RUNS held"],
        "messages into NATS": quiet.rate("nats in"),
        "statements besides": quiet.rate("sql besides") + quiet.rate("sql heartbeat"),
        "heartbeats to clients": simulated.frames["heartbeats_per_sec"],
    }
    return [Check("quiet", name, model[name].value, value, model[name].unit) for name, value in found.items()]


def _talk(fleet: Fleet, spans: Spans, simulated: Simulated) -> Sequence[Check]:
    """All runs are on, and each says a word now and then."""
    model = predict(replace(fleet, run_secs=math.inf, events_per_sec=1 / spans.every))
    talk = simulated.talk
    found = {
        "batches into Redis": talk.rate("redis evalsha"),
        "Redis commands": sum(
            talk.rate(f"redis {name}") for name in ("evalsha", "xadd", "pexpire", "publish")
        ),
        "messages out of Redis": _delivered(simulated),
        "frames to clients": simulated.frames["per_sec"],
    }
    return [Check("talk", name, model[name].value, value, model[name].unit) for name, value in found.items()]


def _delivered(simulated: Simulated) -> float:
    """Each message of the runs' channels, times the subscriptions to one of them, as Valkey has both."""
    runs = simulated.held.counted["TREADLE_RUNS held"]
    return simulated.talk.rate("redis publish") * simulated.held.counted["redis subscriptions of runs"] / runs


def _runs(fleet: Fleet, spans: Spans, simulated: Simulated) -> Sequence[Check]:
    """What all runs took, from the first to the last, divided among them."""
    whole = simulated.all.counted
    words = spans.words
    model = predict(replace(fleet, run_secs=math.inf))
    per_run: Mapping[str, tuple[float, float]] = {
        "wake-ups published": (1, whole["TREADLE_RUNS published"]),
        "wake-ups acknowledged": (1, whole["TREADLE_RUNS acknowledged"]),
        "run events published": (RUN_EVENTS, whole["TREADLE_EVENTS published"]),
        "batches into Redis": (FIRST_AND_END + words, whole["redis evalsha"]),
        "statements": (
            model["statements of a run"].value,
            sum(whole.get(f"sql {kind}", 0) for kind in OF_A_RUN),
        ),
    }
    most = model["Postgres connections, at most"].value
    return [
        *(
            Check("runs", f"{name}, of a run", one, of_all / fleet.sessions)
            for name, (one, of_all) in per_run.items()
        ),
        Check(
            "runs",
            "SUBSCRIBEs at Redis, of a run, at most",
            fleet.subscribers,
            whole["redis subscribe"] / fleet.sessions,
            bound=True,
        ),
        Check("runs", "Postgres connections, at most", most, simulated.most_connections, bound=True),
    ]
