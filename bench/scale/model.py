"""The model: what a fleet's runs make of connections, messages and statements. Each figure says from which code it follows.

All constants are imported from the code that they are about, so that the model changes with it. What the code has as a bare
number (a pool's first connection) stands here as one, with its place.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.scale.fleet import Fleet
from treadle.operations.room import LOOK_SECS
from treadle.settings import Settings
from treadle.streaming.publisher import COALESCE_SECS
from treadle_api.ends import SELDOM_SECS
from treadle_scheduler.leader import RENEWALS_PER_LEASE
from treadle_scheduler.parts import POOL_SIZE, REMOVALS_AT_ONCE
from treadle_worker.app import DUE_AT_ONCE
from treadle_worker.leases import BEATS_PER_LEASE
from treadle_worker.slot import PULL_SECS

# As the services have them when nothing else is set; the addresses are of no matter here.
SETTINGS = Settings(database_uri="postgresql://", redis_uri="redis://", nats_url="nats://")
# A pool for runs opens with one connection (`min_size=1` in db/pool.py), one for checkpoints and the store with none.
FIRST = 1
# Two connections to NATS: the slots', and the one of the thread that keeps leases (equipment.py, app.py).
NATS_OF_WORKER = 2
# Cancel signals, and the publisher of events (streaming/cancel.py, streaming/publisher.py).
REDIS_OF_WORKER = 2
# The subscription of all watched runs (streaming/hub.py). Reading what a client has missed takes others, READS_AT_ONCE at most.
REDIS_OF_API = 1
# A run's status changes that are told: pending, running, and how it ended (migrations/0011_run_events.sql).
RUN_EVENTS = 3
# Batches of a run besides its events: the first (`metadata`), and the end (execution.py).
FIRST_AND_END = 2
# The pull request of an API process for durable requests, and no message (messaging/pulling.py, EXPIRES_SECS).
REQUESTS_PULL_SECS = 10.0
# A new thread and its run, two; claim, the newest checkpoint, finish (the worker).
STEPS_OF_THE_PROTOCOL = 5
# Checkpoints that come within a moment are one statement (checkpoint/lane.py): those before the first node, and those of each
# node that takes longer than the moment. The last ones go with the outcome (migrations/0020_finish_with_checkpoints.sql).
CHECKPOINTS_BEFORE = 1
# Of the duties of the leading scheduler, with nothing to do, per round: (statements, seconds between rounds).
DUTIES = {
    "run events": (1, SETTINGS.treadle_run_events_interval_secs),
    "delays": (1, SETTINGS.treadle_delay_interval_secs),
    "crons": (2, SETTINGS.treadle_cron_interval_secs),
    "untold": (1, SETTINGS.treadle_sweep_interval_secs),
    "leaseless": (2, SETTINGS.treadle_sweep_interval_secs),
    "webhooks": (1, SETTINGS.treadle_webhook_interval_secs),
    "removals": (5, SETTINGS.treadle_retention_interval_secs),
}


class Quantity(NamedTuple):
    """One figure. `why`: how it follows from the fleet."""

    value: float
    unit: str
    why: str


Prediction = dict[str, Quantity]


def predict(fleet: Fleet) -> Prediction:
    """All that the model says, by name, in the order of the page."""
    return {**connections(fleet), **leases(fleet), **queue(fleet), **events(fleet), **statements(fleet)}


def connections(fleet: Fleet) -> Prediction:
    """Connections of all processes to the servers, and of clients to the API."""
    w, a, s = fleet.workers, fleet.api_processes, fleet.schedulers
    rest = w * (FIRST + 1) + a * FIRST + s * 2 * FIRST
    most = (
        w * (2 * fleet.pool_size + 1) + a * 2 * fleet.api_pool_size + s * (POOL_SIZE + REMOVALS_AT_ONCE + 1)
    )
    return {
        "Postgres connections, at rest": Quantity(
            rest, "", "worker: 1 of a pool, 1 of the lease thread; API: 1; scheduler: 2"
        ),
        "Postgres connections, at most": Quantity(
            most,
            "",
            f"worker: 2 x {fleet.pool_size} + 1; API: 2 x {fleet.api_pool_size}; scheduler: "
            f"{POOL_SIZE} + {REMOVALS_AT_ONCE} + 1",
        ),
        "NATS connections": Quantity(
            w * NATS_OF_WORKER + a + s, "", "worker: 2 (slots, leases); API and scheduler: 1"
        ),
        "Redis connections": Quantity(
            w * REDIS_OF_WORKER + a * REDIS_OF_API, "", "worker: 2 (events, cancels); API: 1 (subscriptions)"
        ),
        "streams of an API process": Quantity(
            fleet.sessions * fleet.subscribers / a, "", "runs x subscribers / API processes"
        ),
    }


def leases(fleet: Fleet) -> Prediction:
    """What keeping the leases takes."""
    beats_per_sec = BEATS_PER_LEASE / fleet.lease_secs
    working = min(fleet.workers, fleet.sessions)
    return {
        "lease UPDATEs": Quantity(working * beats_per_sec, "/s", "one per worker and third of a lease"),
        "leases of an UPDATE": Quantity(fleet.sessions / max(working, 1), "", "the runs of a worker"),
        "leases extended": Quantity(
            fleet.sessions * beats_per_sec, "/s", "one row per run and third of a lease"
        ),
        "in_progress messages": Quantity(
            fleet.sessions * beats_per_sec, "/s", "one per run and third of a lease"
        ),
    }


def queue(fleet: Fleet) -> Prediction:
    """What goes through JetStream."""
    runs, due_pulls = fleet.runs_per_sec, fleet.workers * DUE_AT_ONCE
    pulls = (fleet.idle_slots + due_pulls) / PULL_SECS + runs
    in_progress = leases(fleet)["in_progress messages"].value
    asked = fleet.api_processes / REQUESTS_PULL_SECS
    return {
        "wake-ups held unacknowledged": Quantity(
            fleet.sessions, "", f"one per thread in work; the ceiling is {fleet.max_ack_pending:,}"
        ),
        "pull requests open": Quantity(fleet.idle_slots, "", "one per idle slot"),
        "pull requests": Quantity(
            pulls,
            "/s",
            f"idle slots, and {DUE_AT_ONCE} of each worker for delayed runs, every {PULL_SECS:g} s; one per run",
        ),
        "wake-ups published": Quantity(runs, "/s", "one per run"),
        "wake-ups acknowledged": Quantity(runs, "/s", "one per run"),
        "run events published": Quantity(RUN_EVENTS * runs, "/s", "pending, running and the end of each run"),
        "messages into NATS": Quantity(
            in_progress + pulls + asked + (2 + RUN_EVENTS) * runs, "/s", "the sum of these"
        ),
    }


def events(fleet: Fleet) -> Prediction:
    """What goes through Redis, and out to clients."""
    runs = fleet.runs_per_sec
    batches = batches_per_sec(fleet.events_per_sec) * fleet.sessions + FIRST_AND_END * runs
    frames = fleet.events_per_sec * fleet.sessions + runs
    # One that tells more often than the heartbeat is never silent for so long.
    silent = fleet.events_per_sec * SETTINGS.treadle_sse_heartbeat_secs < 1
    heartbeats = fleet.sessions / SETTINGS.treadle_sse_heartbeat_secs if silent else 0.0
    return {
        "batches into Redis": Quantity(
            batches, "/s", "one script call each; two per run, and its events but those within 2 ms"
        ),
        "Redis commands": Quantity(
            4 * batches + runs + 2 * runs * fleet.subscribers,
            "/s",
            "EVALSHA, XADD, PEXPIRE, PUBLISH per batch; per run one PUBLISH to its thread, and SUBSCRIBE and UNSUBSCRIBE "
            "per subscriber",
        ),
        "messages out of Redis": Quantity(
            batches * fleet.subscribers, "/s", "batches x API processes that watch the run"
        ),
        "frames to clients": Quantity(
            frames * fleet.subscribers, "/s", "events, and `metadata`, x subscribers"
        ),
        "heartbeats to clients": Quantity(
            heartbeats * fleet.subscribers,
            "/s",
            f"streams that are silent for {SETTINGS.treadle_sse_heartbeat_secs:g} s",
        ),
    }


def batches_per_sec(events_per_sec: float) -> float:
    """Of one run: what comes within the time of coalescing goes together."""
    return min(events_per_sec, 1 / COALESCE_SECS)


def statements(fleet: Fleet) -> Prediction:
    """What Postgres is asked."""
    of_run = STEPS_OF_THE_PROTOCOL + CHECKPOINTS_BEFORE + fleet.nodes - 1
    duties = sum(count / secs for count, secs in DUTIES.values())
    renewals = RENEWALS_PER_LEASE / SETTINGS.treadle_leader_lease_secs
    looks = 1 / LOOK_SECS + (1 / SELDOM_SECS if fleet.sessions * fleet.subscribers else 0)
    standing = (
        leases(fleet)["lease UPDATEs"].value
        + duties
        + renewals * fleet.schedulers
        + looks * fleet.api_processes
    )
    return {
        "statements of a run": Quantity(
            of_run,
            "",
            "thread, run, claim, newest checkpoint, finish; checkpoints before each node",
        ),
        "statements besides": Quantity(
            standing, "/s", "lease UPDATEs, the duties of the scheduler, the looks of each API process"
        ),
        "statements in all": Quantity(of_run * fleet.runs_per_sec + standing, "/s", "runs and besides"),
    }
