"""What ticks where clocks are changed: in spring and in autumn, in three zones, on a clock that a test sets.

The scheduler looks about once a minute here; what it makes is compared by local time and offset.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.integration.ticking import Clock, Ticking, new_cron, ticks_of
from treadle.db.pool import Pool

# A zone, the local time and offset from which its crons are watched, and for how many hours.
BERLIN_SPRING = ("Europe/Berlin", "2026-03-29T00:59:00+01:00", 26)
BERLIN_AUTUMN = ("Europe/Berlin", "2026-10-25T00:59:00+02:00", 27)
NEW_YORK_SPRING = ("America/New_York", "2026-03-08T00:59:00-05:00", 26)
NEW_YORK_AUTUMN = ("America/New_York", "2026-11-01T00:59:00-04:00", 27)
LORD_HOWE_SPRING = ("Australia/Lord_Howe", "2026-10-04T00:59:00+10:30", 26)
LORD_HOWE_AUTUMN = ("Australia/Lord_Howe", "2026-04-05T00:59:00+11:00", 26)
HALF_PAST_ONE, HALF_PAST_TWO = "30 1 * * *", "30 2 * * *"

CHANGES = [
    # Left out by the change: made up for when it is over. With seconds, no different.
    (BERLIN_SPRING, HALF_PAST_TWO, ["29T03:00:00+0200", "30T02:30:00+0200"]),
    (BERLIN_SPRING, "30 2 * * * 15", ["29T03:00:15+0200", "30T02:30:15+0200"]),
    (NEW_YORK_SPRING, HALF_PAST_TWO, ["08T03:00:00-0400", "09T02:30:00-0400"]),
    (LORD_HOWE_SPRING, "15 2 * * *", ["04T02:30:00+1100", "05T02:15:00+1100"]),
    # There twice: due once.
    (BERLIN_AUTUMN, HALF_PAST_TWO, ["25T02:30:00+0200", "26T02:30:00+0100"]),
    (BERLIN_AUTUMN, "30 2 * * * 15", ["25T02:30:15+0200", "26T02:30:15+0100"]),
    (NEW_YORK_AUTUMN, HALF_PAST_ONE, ["01T01:30:00-0400", "02T01:30:00-0500"]),
    (LORD_HOWE_AUTUMN, "45 1 * * *", ["05T01:45:00+1100", "06T01:45:00+1030"]),
    # On another hour of that day: as on any other.
    (BERLIN_SPRING, "0 12 * * *", ["29T12:00:00+0200"]),
    (NEW_YORK_AUTUMN, "0 12 * * *", ["01T12:00:00-0500"]),
    (BERLIN_SPRING, "@daily", ["30T00:00:00+0200"]),
    (BERLIN_AUTUMN, "@daily", ["26T00:00:00+0100"]),
]


def local(at: datetime, zone: str) -> str:
    return at.astimezone(ZoneInfo(zone)).strftime("%dT%H:%M:%S%z")


async def ticked(
    pool: Pool, zone: str, schedule: str, start: str, times: timedelta, look: timedelta
) -> list[str]:
    """The local times of the ticks that were made for a cron, as time went by."""
    clock = Clock(start)
    cron = await new_cron(pool, schedule, clock.now, timezone=zone)
    ticking, end = Ticking(pool, clock), clock.now + times
    while clock.now < end:
        clock.set(clock.now + look)
        await ticking.duty.round()
    assert ticking.count("refused") == ticking.count("skipped") == 0
    return [local(each.scheduled_for, zone) for each in await ticks_of(pool, cron)]


@pytest.mark.parametrize(("change", "schedule", "expected"), CHANGES)
async def test_what_goes_by_the_day(
    pool: Pool, change: tuple[str, str, int], schedule: str, expected: list[str]
) -> None:
    zone, start, hours = change
    look = timedelta(minutes=1)
    made = await ticked(pool, zone, schedule, start, timedelta(hours=hours), look)
    assert made == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (BERLIN_SPRING, ["29T01:00:00+0100", "29T03:00:00+0200", "29T04:00:00+0200"]),
        (NEW_YORK_SPRING, ["08T01:00:00-0500", "08T03:00:00-0400", "08T04:00:00-0400"]),
        (BERLIN_AUTUMN, ["25T01:00:00+0200", "25T02:00:00+0200", "25T02:00:00+0100"]),
        (NEW_YORK_AUTUMN, ["01T01:00:00-0400", "01T01:00:00-0500", "01T02:00:00-0500"]),
        (LORD_HOWE_AUTUMN, ["05T01:00:00+1100", "05T02:00:00+1030", "05T03:00:00+1030"]),
    ],
)
async def test_what_goes_by_the_hour(pool: Pool, change: tuple[str, str, int], expected: list[str]) -> None:
    """Every hour that there is, whatever it is called."""
    zone, start, _ = change
    made = await ticked(pool, zone, "0 * * * *", start, timedelta(hours=3.6), timedelta(seconds=60))
    assert made[:3] == expected


@pytest.mark.parametrize("change", [BERLIN_SPRING, BERLIN_AUTUMN, NEW_YORK_SPRING, NEW_YORK_AUTUMN])
async def test_what_goes_by_the_minute_and_by_the_second_does_not_mind(
    pool: Pool, change: tuple[str, str, int]
) -> None:
    zone, start, _ = change
    began = datetime.fromisoformat(start)
    made = await ticked(pool, zone, "* * * * *", start, timedelta(hours=3), timedelta(seconds=60))
    assert made == [local(began + timedelta(minutes=n + 1), zone) for n in range(180)]
    change_at = datetime.fromisoformat(start) + timedelta(minutes=60)
    made = await ticked(
        pool, zone, "* * * * * */20", change_at.isoformat(), timedelta(minutes=2), timedelta(seconds=30)
    )
    assert made == [local(change_at + timedelta(seconds=20 * (n + 1)), zone) for n in range(6)]
