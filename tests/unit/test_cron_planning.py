"""What is done about a cron that is due: by its schedule and the time alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from treadle.model import Cron, OnMissed
from treadle_scheduler.planning import Plan, plan

GRACE = timedelta(seconds=60)
DAY = datetime(2026, 11, 21, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-{text}+00:00")


def cron(schedule: str, *, end: str | None = None, on_missed: OnMissed = "once") -> Cron:
    return Cron(
        cron_id=uuid4(),
        assistant_id=uuid4(),
        thread_id=None,
        schedule=schedule,
        timezone=None,
        end_time=None if end is None else at(end),
        enabled=True,
        on_run_completed="delete",
        on_missed=on_missed,
        payload={},
        metadata={},
        tenant="default",
        asking=None,
        next_run_date=None,
        created_at=DAY,
        updated_at=DAY,
    )


@pytest.mark.parametrize("now", ["21T10:00:00", "21T10:00:59", "21T10:01:00"])
@pytest.mark.parametrize("on_missed", ["once", "skip"])
def test_a_tick_within_the_grace_is_made(now: str, on_missed: OnMissed) -> None:
    step = plan(cron("* * * * * *", on_missed=on_missed), at("21T10:00:00"), at(now), GRACE)
    assert step == Plan(at("21T10:00:00"), at("21T10:00:01"), skip=False)


@pytest.mark.parametrize(
    ("schedule", "now", "newest", "following"),
    [
        # One that is later than the grace, and no other.
        ("* * * * *", "21T10:01:00.1", "21T10:00", "21T10:01"),
        # Many; the newest of those that are later than the grace.
        ("* * * * *", "22T07:30:30", "22T07:29", "22T07:30"),
        ("* * * * * *", "28T10:00:00", "28T09:58:59", "28T09:59:00"),
        ("0 10 * * *", "24T09:00", "23T10:00", "24T10:00"),
    ],
)
@pytest.mark.parametrize("on_missed", ["once", "skip"])
def test_of_what_was_missed_the_newest_counts(
    schedule: str, now: str, newest: str, following: str, on_missed: OnMissed
) -> None:
    step = plan(cron(schedule, on_missed=on_missed), at("21T10:00"), at(now), GRACE)
    assert step == Plan(at(newest), at(following), skip=on_missed == "skip")


def test_a_cron_ends_with_the_tick_at_its_end() -> None:
    ending = cron("* * * * *", end="21T10:02")
    assert plan(ending, at("21T10:01"), at("21T10:01"), GRACE) == Plan(
        at("21T10:01"), at("21T10:02"), skip=False
    )
    assert plan(ending, at("21T10:02"), at("21T10:02"), GRACE) == Plan(at("21T10:02"), None, skip=False)
    assert plan(ending, at("21T10:00"), at("25T00:00"), GRACE) == Plan(at("21T10:02"), None, skip=False)
