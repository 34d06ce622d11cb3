"""Cron schedules: when they are due next, in a time zone, over its changes of the clock.

A time that a change of the clock leaves out is made up for at once; one that comes twice counts once, unless the
schedule goes by the hour or the minute anyway. These are the rules of Debian's cron, which CronSim follows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from treadle.errors import InvalidRequest

NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
DAY_OF_MONTH, DAY_OF_WEEK = 2, 4
SECOND = timedelta(seconds=1)


class Schedule:
    """A cron expression in a time zone.

    Args:
        expression: five fields (minute, hour, day of month, month, day of week), a sixth one for seconds after them,
            or a name like `@daily`.
        timezone: an IANA name; None is UTC.

    Raises:
        InvalidRequest: either cannot be used, or the schedule is never due.
    """

    def __init__(self, expression: str, timezone: str | None) -> None:
        self._expression = _for_cronsim(expression)
        self._zone = _zone(timezone)
        try:
            CronSim(self._expression, datetime.now(UTC))
        except CronSimError as error:
            raise InvalidRequest(
                f"schedule: {expression[:128]!r} cannot be used: {error}. Send five fields (minute, hour, day of month, "
                f"month, day of week), perhaps seconds as a sixth, or one of: {', '.join(NAMES)}."
            ) from error
        if self.after(datetime.now(UTC)) is None:
            raise InvalidRequest(f"schedule: {expression[:128]!r} is never due; no such day will come.")

    def after(self, moment: datetime) -> datetime | None:
        """The first time after a moment at which it is due, in UTC; None: never again within decades.

        In the second of two equal hours CronSim goes on from the first, and so begins with what is past.
        """
        for local in self._from(moment.astimezone(self._zone)):
            due = local.astimezone(UTC)
            if due > moment:
                return due
        return None

    def _from(self, moment: datetime) -> CronSim:
        """CronSim has Debian's rules for five fields only; with seconds, what goes by the day is no other thing."""
        times = CronSim(self._expression, moment)
        minute, hour = self._expression.split()[-5:-3]
        if not minute.startswith("*") and not hour.startswith("*"):
            times.fixup_tz, times.dt = self._zone, times.dt.replace(tzinfo=None)
        return times

    def newest(self, first: datetime, until: datetime) -> datetime:
        """The last time up to a moment at which it is due, given an earlier such time."""
        low, high = first, until  # `low` is such a time, and none lies between `high` and `until`
        while high - low >= SECOND:
            middle = low + (high - low) / 2
            due = self.after(middle)
            if due is None or due > until:
                high = middle
            else:
                low = due
        return low


def _for_cronsim(expression: str) -> str:
    """Seconds first, no names, `*` for `?`, as CronSim reads it."""
    fields = NAMES.get(expression.strip(), expression).split()
    for day in (DAY_OF_MONTH, DAY_OF_WEEK):
        if fields[day : day + 1] == ["?"]:
            fields[day] = "*"
    if len(fields) == 6:
        fields = [fields[5], *fields[:5]]
    return " ".join(fields)


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo("UTC" if name is None else name)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidRequest(
            f"timezone: {str(name)[:64]!r} is no time zone. Send an IANA name like 'Europe/Berlin', or leave it out for UTC."
        ) from error
