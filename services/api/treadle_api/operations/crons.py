"""Making and changing crons."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from treadle.db.crons import CronFields, Crons, lock_cron, replace_cron
from treadle.db.pool import Pool, clock, postgres_errors, transaction
from treadle.db.scope import Scope
from treadle.db.threads import Threads
from treadle.errors import InvalidRequest
from treadle.model import Cron, CronWithTick, Run
from treadle.operations.asking import Asking
from treadle.operations.create import Creation
from treadle.operations.cron_runs import cron_run
from treadle.operations.missing import no_assistant, no_cron, no_thread
from treadle.schedules import Schedule
from treadle.wire.runs import NewRun, RunFields
from treadle_api.bodies.crons import CronPatch, NewCron, NewThreadCron

RUN_FIELDS = RunFields.__struct_fields__


class CronEdits:
    """Changes what crons there are. Each has a request for a run that would be accepted now."""

    def __init__(self, pool: Pool, crons: Crons, threads: Threads, creation: Creation) -> None:
        self._pool = pool
        self._crons = crons
        self._threads = threads
        self._creation = creation

    async def create(
        self,
        asking: Asking,
        threads: Scope,
        cron_id: UUID,
        thread_id: UUID | None,
        body: NewThreadCron,
    ) -> CronWithTick:
        """Make a cron, on a thread or with a new thread for each run.

        Args:
            asking: for whom its runs will be made.
            threads: where its thread has to be.

        Raises:
            InvalidRequest: the schedule, its time zone or its end cannot be used, or a run would be refused so.
            NotFound: no such thread or assistant.
        """
        schedule = Schedule(body.schedule, body.timezone)
        with postgres_errors("creating a cron"):
            if thread_id is not None and await self._threads.get(threads, thread_id) is None:
                raise no_thread(thread_id)
            now = await self._crons.clock()
        end = _end(body.end_time, now)
        payload = {"assistant_id": body.assistant_id, **_given(body)}
        assistant = await self._creation.check(asking, _run(payload))
        after = body.on_run_completed if isinstance(body, NewCron) else None
        fields = CronFields(
            schedule=body.schedule,
            timezone=body.timezone,
            end_time=end,
            enabled=body.enabled is not False,
            on_run_completed=None if thread_id is not None else after or "delete",
            payload={**payload, "assistant_id": str(assistant.assistant_id)},
            metadata=body.metadata or {},
            next_run_date=_until(end, schedule.after(now)),
            on_missed=body.on_missed or "once",
        )
        with postgres_errors("creating a cron"):
            cron = await self._crons.create(
                asking.tenant, cron_id, assistant.assistant_id, thread_id, fields, _user(asking)
            )
            if cron is None and thread_id is not None and await self._threads.get(threads, thread_id) is None:
                raise no_thread(thread_id)
        if cron is None:
            raise no_assistant(assistant.assistant_id)
        return cron

    async def patch(self, asking: Asking, scope: Scope, cron_id: UUID, body: CronPatch) -> CronWithTick:
        """Change a cron.

        Raises:
            InvalidRequest: as for `create`, or nothing is to change.
            NotFound: there is no such cron.
        """
        if body == CronPatch():
            raise InvalidRequest(
                "body: it names nothing to change. Send the fields that are to be different."
            )
        with postgres_errors("reading a cron"):
            present = await self._crons.get(scope, cron_id)
        if present is None:
            raise no_cron(cron_id)
        await self._creation.check(asking, _run(_changed_payload(present, body)))
        with postgres_errors("changing a cron"):
            async with transaction(self._pool) as connection:
                locked = await lock_cron(connection, scope, cron_id)
                if locked is None:
                    raise no_cron(cron_id)
                now = await clock(connection)
                return await replace_cron(connection, cron_id, _changed(locked, body, now), _user(asking))

    async def trigger(self, asking: Asking, scope: Scope, cron_id: UUID) -> Run:
        """Make one run of a cron now, be it enabled or not. When the next one is due stays as it is.

        Raises:
            NotFound: there is no such cron.
            InvalidRequest, Conflict, Unavailable: as a request for such a run.
        """
        with postgres_errors("reading a cron"):
            cron = await self._crons.get(scope, cron_id)
        if cron is None:
            raise no_cron(cron_id)
        run = cron_run(cron)
        return await self._creation.create(
            asking, run.run_id, run.thread_id, run.body, stateless=run.stateless, cron_id=cron_id
        )


def _user(asking: Asking) -> dict[str, Any] | None:
    """For whom the runs are made, as it is kept."""
    return None if asking.user is None else dict(asking.user)


def _given(body: RunFields) -> dict[str, Any]:
    """What of a run the client has set."""
    fields: dict[str, Any] = msgspec.to_builtins(body)
    return {name: fields[name] for name in RUN_FIELDS if fields[name] is not None}


def _run(payload: dict[str, Any]) -> NewRun:
    return msgspec.convert(payload, NewRun)


def _end(given: datetime | None, now: datetime) -> datetime | None:
    if given is None:
        return None
    try:
        end = (given if given.tzinfo is not None else given.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise InvalidRequest(
            f"end_time: {given.isoformat()} is beyond the years that can be counted. Leave it out for a cron without an end."
        ) from None
    if end <= now:
        raise InvalidRequest(
            f"end_time: {end.isoformat()} is past. Send a time to come, or leave it out for a cron without an end."
        )
    return end


def _until(end: datetime | None, due: datetime | None) -> datetime | None:
    """When the next run is due; None if that is after the end."""
    return None if due is None or (end is not None and due > end) else due


def _changed(cron: Cron, body: CronPatch, now: datetime) -> CronFields:
    """A cron with the changes in it.

    A run that is due and not yet made stays due, unless the change is about when runs are due.
    """
    if cron.thread_id is not None and body.on_run_completed is not None:
        raise InvalidRequest(
            "on_run_completed: the runs of this cron have a thread of yours, which stays. Leave the field out."
        )
    expression, timezone = body.schedule or cron.schedule, body.timezone or cron.timezone
    schedule = Schedule(expression, timezone)
    end = cron.end_time if body.end_time is UNSET else _end(body.end_time, now)
    enabled = cron.enabled if body.enabled is None else body.enabled
    moved = (expression, timezone) != (cron.schedule, cron.timezone) or (enabled and not cron.enabled)
    due = schedule.after(now) if moved or cron.next_run_date is None else cron.next_run_date
    return CronFields(
        schedule=expression,
        timezone=timezone,
        end_time=end,
        enabled=enabled,
        on_run_completed=body.on_run_completed or cron.on_run_completed,
        payload=_changed_payload(cron, body),
        metadata={**cron.metadata, **(body.metadata or {})},
        next_run_date=_until(end, due),
        on_missed=body.on_missed or cron.on_missed,
    )


def _changed_payload(cron: Cron, body: CronPatch) -> dict[str, Any]:
    """The newer of a context and a `configurable` takes the place of the other."""
    given = _given(body)
    payload = {**cron.payload, **given}
    if body.metadata:
        payload["metadata"] = {**cron.metadata, **body.metadata}
    if body.context and body.config is None:
        config = {name: value for name, value in payload.get("config", {}).items() if name != "configurable"}
        payload["config"] = config
    elif body.config is not None and body.config.configurable and not body.context:
        payload.pop("context", None)
    return payload
