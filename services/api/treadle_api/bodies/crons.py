"""Crons, as clients ask for them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from treadle.db.crons import SortBy, SortOrder
from treadle.model import OnMissed
from treadle.wire.runs import RunFields
from treadle_api.bodies.fields import Limit, Offset

# No NUL, and no longer than anybody's schedule.
Expression = Annotated[str, Meta(pattern=r"^[^\0]*$", max_length=1024)]
OnRunCompleted = Literal["delete", "keep"]
Field = Literal[
    "cron_id",
    "assistant_id",
    "thread_id",
    "on_run_completed",
    "end_time",
    "schedule",
    "timezone",
    "created_at",
    "updated_at",
    "user_id",
    "payload",
    "next_run_date",
    "metadata",
    "enabled",
    "on_missed",
    "last_run_id",
    "last_thread_id",
    "last_error",
]


class NewThreadCron(RunFields, kw_only=True):
    """A run to be made on a schedule, on one thread. An `end_time` without an offset is in UTC.

    `on_missed`: what becomes of the runs that nobody was there to make: one for all of them (`once`), or none (`skip`).
    """

    assistant_id: str
    schedule: Expression
    timezone: Expression | None = None
    end_time: datetime | None = None
    enabled: bool | None = None
    on_missed: OnMissed | None = None


class NewCron(NewThreadCron, kw_only=True):
    """A run to be made on a schedule, each on a thread of its own."""

    on_run_completed: OnRunCompleted | None = None


class CronPatch(RunFields, kw_only=True):
    """What is to change. Metadata are merged, everything else is replaced; an `end_time` of null takes it away."""

    schedule: Expression | None = None
    timezone: Expression | None = None
    end_time: datetime | UnsetType | None = UNSET
    enabled: bool | None = None
    on_run_completed: OnRunCompleted | None = None
    on_missed: OnMissed | None = None


class CronCount(Struct, kw_only=True):
    assistant_id: str | None = None
    thread_id: str | None = None
    metadata: dict[str, Any] | None = None


class CronSearch(CronCount, kw_only=True):
    enabled: bool | None = None
    limit: Limit = 10
    offset: Offset = 0
    sort_by: SortBy | None = None
    sort_order: SortOrder | None = None
    select: list[Field] | None = None
