"""Crons, as clients get them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from treadle.model import CronWithTick, OnMissed
from treadle.wire.moments import moment
from treadle.wire.shown import shown_kwargs


class CronView(Struct):
    cron_id: UUID
    assistant_id: UUID
    thread_id: UUID | None
    user_id: str | None
    end_time: str | None
    schedule: str
    timezone: str | None
    payload: dict[str, Any]
    next_run_date: str | None
    metadata: dict[str, Any]
    on_run_completed: str | None
    enabled: bool
    created_at: str
    updated_at: str
    on_missed: OnMissed
    last_run_id: UUID | None
    last_thread_id: UUID | None
    last_error: str | None


def cron_view(cron: CronWithTick) -> CronView:
    return CronView(
        cron_id=cron.cron_id,
        assistant_id=cron.assistant_id,
        thread_id=cron.thread_id,
        user_id=None if cron.asking is None else cron.asking["identity"],
        end_time=_moment(cron.end_time),
        schedule=cron.schedule,
        timezone=cron.timezone,
        payload=shown_kwargs(cron.payload),
        next_run_date=_moment(cron.next_run_date),
        metadata=cron.metadata,
        on_run_completed=cron.on_run_completed,
        enabled=cron.enabled,
        created_at=moment(cron.created_at),
        updated_at=moment(cron.updated_at),
        on_missed=cron.on_missed,
        last_run_id=cron.last_run_id,
        last_thread_id=cron.last_thread_id,
        last_error=cron.last_error,
    )


def _moment(at: datetime | None) -> str | None:
    return None if at is None else moment(at)
