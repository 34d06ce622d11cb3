"""What to do about a cron that is due: a matter of its schedule and the time, and of nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

from treadle.model import Cron
from treadle.schedules import Schedule

MOMENT = timedelta(microseconds=1)
SCHEDULES_REMEMBERED = 4096


class Plan(msgspec.Struct, frozen=True):
    """The tick to be made, and when the cron is due after it. `skip`: it was missed, and there is to be no run for it."""

    scheduled_for: datetime
    following: datetime | None
    skip: bool = False


def plan(cron: Cron, due: datetime, now: datetime, grace: timedelta) -> Plan:
    """The next step of a cron that was due at `due`.

    What is later than the grace was missed: it makes one tick, the newest of them. What is not is made tick by tick,
    so that a scheduler that takes over leaves none out.

    Raises:
        InvalidRequest: the schedule cannot be used any more.
    """
    schedule = _read(cron.schedule, cron.timezone)
    late = now - grace
    if due >= late:
        return Plan(due, _until(cron.end_time, schedule.after(due)))
    until = late - MOMENT
    newest = schedule.newest(due, until if cron.end_time is None else min(until, cron.end_time))
    following = _until(cron.end_time, schedule.after(newest))
    return Plan(newest, following, skip=cron.on_missed == "skip")


# Many crons have the schedules that everybody has, and all have theirs at each tick.
_read = lru_cache(SCHEDULES_REMEMBERED)(Schedule)


def _until(end: datetime | None, due: datetime | None) -> datetime | None:
    """A cron ends with the tick at its end, if there is one."""
    return None if due is None or (end is not None and due > end) else due
