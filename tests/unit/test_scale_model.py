"""The model of bench/scale against cases computed by hand."""

from __future__ import annotations

import math

import pytest
from bench.scale.fleet import Fleet, Impossible
from bench.scale.model import batches_per_sec, predict

# Two workers with five slots each, six runs of 12 seconds, 3 API processes, one scheduler.
SMALL = Fleet(
    sessions=6,
    workers=2,
    jobs_per_worker=5,
    api_processes=3,
    schedulers=1,
    run_secs=12,
    events_per_sec=2,
    subscribers=1.5,
    lease_secs=9,
    pool_size=4,
    api_pool_size=5,
)
AT_REST = Fleet(sessions=0, workers=2, jobs_per_worker=5, run_secs=math.inf, api_processes=1, schedulers=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Postgres connections, at rest", 2 * 2 + 3 * 1 + 2),
        ("Postgres connections, at most", 2 * 9 + 3 * 10 + 7),
        ("NATS connections", 4 + 3 + 1),
        ("Redis connections", 4 + 3),
        ("streams of an API process", 3),
        ("lease UPDATEs", 2 / 3),
        ("leases of an UPDATE", 3),
        ("leases extended", 2),
        ("in_progress messages", 2),
        ("wake-ups held unacknowledged", 6),
        ("pull requests open", 4),
        # 4 idle slots and 16 pulls for delayed runs, every 5 s; half a run per second.
        ("pull requests", 4 + 0.5),
        ("wake-ups published", 0.5),
        ("run events published", 1.5),
        ("messages into NATS", 2 + 4.5 + 0.3 + 5 * 0.5),
        ("batches into Redis", 12 + 1),
        ("Redis commands", 4 * 13 + 0.5 + 2 * 0.5 * 1.5),
        ("messages out of Redis", 13 * 1.5),
        ("frames to clients", 12.5 * 1.5),
        ("heartbeats to clients", 0),
        ("statements of a run", 6),
        # Duties 10 + 2 + 4 + 0.5 + 1 + 1 + 0.5, a renewal of the lead every 2 s, 4/3 looks of each API process.
        ("statements besides", 2 / 3 + 19 + 0.5 + 4),
        ("statements in all", 6 * 0.5 + 2 / 3 + 23.5),
    ],
)
def test_a_small_fleet(name: str, value: float) -> None:
    assert predict(SMALL)[name].value == pytest.approx(value)


def test_a_fleet_without_runs_asks_for_them() -> None:
    found = predict(AT_REST)
    assert found["pull requests open"].value == 10
    assert found["pull requests"].value == pytest.approx((10 + 16) / 5)
    assert found["lease UPDATEs"].value == 0
    assert found["messages into NATS"].value == pytest.approx(26 / 5 + 0.1)
    assert found["statements besides"].value == pytest.approx(19 + 0.5 + 1)


def test_silent_streams_get_heartbeats() -> None:
    quiet = Fleet(sessions=30, workers=1, events_per_sec=0, run_secs=math.inf)
    assert predict(quiet)["heartbeats to clients"].value == 2


def test_events_within_two_milliseconds_go_together() -> None:
    assert batches_per_sec(300) == 300
    assert batches_per_sec(10_000) == 500


def test_a_fleet_cannot_have_more_runs_than_slots() -> None:
    with pytest.raises(Impossible):
        Fleet(sessions=11, workers=2, jobs_per_worker=5)
