"""When schedules are due, above all where clocks are changed."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from treadle.errors import InvalidRequest
from treadle.schedules import Schedule


def due(expression: str, timezone: str | None, start: str, times: int) -> list[str]:
    """The next times in the zone of the schedule, as day, hour and minute with the offset."""
    schedule, moment = Schedule(expression, timezone), datetime.fromisoformat(start)
    found: list[str] = []
    for _ in range(times):
        following = schedule.after(moment)
        assert following is not None
        moment = following
        found.append(moment.astimezone(ZoneInfo(timezone or "UTC")).strftime("%d %H:%M%z"))
    return found


def test_a_time_that_the_clock_leaves_out_is_made_up_for() -> None:
    """New York goes from 02:00 to 03:00 on 8 March 2026."""
    assert due("30 2 * * *", "America/New_York", "2026-03-07T12:00-05:00", 2) == [
        "08 03:00-0400",
        "09 02:30-0400",
    ]


def test_a_time_that_comes_twice_counts_once() -> None:
    """New York has 01:30 twice on 1 November 2026."""
    assert due("30 1 * * *", "America/New_York", "2026-10-31T12:00-04:00", 2) == [
        "01 01:30-0400",
        "02 01:30-0500",
    ]


def test_a_time_with_seconds_is_no_other() -> None:
    assert due("30 2 * * * 15", "Europe/Berlin", "2026-03-28T12:00+01:00", 2) == [
        "29 03:00+0200",
        "30 02:30+0200",
    ]
    assert due("30 2 * * * 15", "Europe/Berlin", "2026-10-24T12:00+02:00", 2) == [
        "25 02:30+0200",
        "26 02:30+0100",
    ]


def test_what_was_due_in_the_first_of_two_equal_hours_is_past_in_the_second() -> None:
    assert due("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10+01:00", 1) == ["26 02:30+0100"]


@pytest.mark.parametrize(
    ("expression", "first", "until", "newest"),
    [
        ("* * * * * *", "2026-11-21T10:00:01Z", "2026-11-28T10:00:00.5Z", "2026-11-28T10:00:00Z"),
        ("*/5 * * * *", "2026-11-21T10:00Z", "2026-11-21T10:04:59Z", "2026-11-21T10:00Z"),
        ("*/5 * * * *", "2026-11-21T10:00Z", "2026-11-21T10:05Z", "2026-11-21T10:05Z"),
        ("0 0 29 2 *", "2024-02-29T00:00Z", "2031-01-01T00:00Z", "2028-02-29T00:00Z"),
        ("* * * 1 * *", "2026-01-01T00:00Z", "2026-11-21T10:00Z", "2026-01-31T23:59:59Z"),
        ("0 9-17 * * mon-fri", "2026-11-16T09:00Z", "2026-11-22T10:00Z", "2026-11-20T17:00Z"),
    ],
)
def test_the_newest_time_of_many(expression: str, first: str, until: str, newest: str) -> None:
    begin, end = datetime.fromisoformat(first), datetime.fromisoformat(until)
    assert Schedule(expression, None).newest(begin, end) == datetime.fromisoformat(newest)


def test_what_goes_by_the_hour_is_due_every_hour() -> None:
    assert due("0 * * * *", "Europe/Berlin", "2026-10-25T01:30+02:00", 3) == [
        "25 02:00+0200",
        "25 02:00+0100",
        "25 03:00+0100",
    ]
    assert due("0 * * * *", "Europe/Berlin", "2026-03-29T01:30+01:00", 2) == [
        "29 03:00+0200",
        "29 04:00+0200",
    ]


def test_noon_stays_noon_in_its_zone() -> None:
    assert due("0 12 * * *", "Europe/Berlin", "2026-10-24T11:00Z", 2) == ["25 12:00+0100", "26 12:00+0100"]
    assert due("0 12 * * *", None, "2026-10-24T11:00Z", 2) == ["24 12:00+0000", "25 12:00+0000"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/15 * * * *", "2026-11-21T10:15:00"),
        ("0 12 * * * 30", "2026-11-21T12:00:30"),
        ("* * * * * */20", "2026-11-21T10:00:20"),
        ("@daily", "2026-11-22T00:00:00"),
        ("@yearly", "2027-01-01T00:00:00"),
        ("0 12 * * 7", "2026-11-22T12:00:00"),
        ("0 12 * jan mon-fri", "2027-01-01T12:00:00"),
        ("0 12 L * ?", "2026-11-30T12:00:00"),
        ("0 12 * * 5#3", "2026-12-18T12:00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00"),
    ],
)
def test_expressions(expression: str, expected: str) -> None:
    moment = datetime(2026, 11, 21, 10, 0, 0, 500_000, tzinfo=UTC)
    assert Schedule(expression, None).after(moment) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    ["", "bogus", "* * * *", "61 * * * *", "* * * * * * *", "@reboot", "H * * * *", "0 0 30 2 *"],
)
def test_a_schedule_that_cannot_be_used_is_refused(expression: str) -> None:
    with pytest.raises(InvalidRequest, match="schedule: "):
        Schedule(expression, None)


@pytest.mark.parametrize("timezone", ["", "bogus", "+02:00", "../etc/passwd", "America", "\0"])
def test_a_zone_that_does_not_exist_is_refused(timezone: str) -> None:
    with pytest.raises(InvalidRequest, match="timezone: "):
        Schedule("* * * * *", timezone)


def from_two_to_five(expression: str, day: str) -> list[str]:
    """When a schedule is due in Berlin that night, by the clock on the wall."""
    berlin = ZoneInfo("Europe/Berlin")
    begin, end = (datetime.fromisoformat(f"{day}T{at}").replace(tzinfo=berlin) for at in ("01:59", "05:00"))
    schedule, times = Schedule(expression, "Europe/Berlin"), list[str]()
    moment = schedule.after(begin)
    while moment is not None and moment < end:
        times.append(f"{moment.astimezone(berlin):%H:%M}")
        moment = schedule.after(moment)
    return times


def test_the_page_about_crons_tells_what_happens_when_clocks_change() -> None:
    page = (Path(__file__).parents[2] / "docs" / "crons.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+ \*)` \| ([\d:, ]+) \| ([\d:, ]+) \|$", page, re.M)
    assert len(rows) == 5
    for expression, spring, autumn in rows:
        assert from_two_to_five(expression, "2026-03-29") == spring.split(", ")
        assert from_two_to_five(expression, "2026-10-25") == autumn.split(", ")
