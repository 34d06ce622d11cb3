"""Crons, and a duty that makes their ticks, on a clock that a test sets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from treadle.db.assistants import Assistants
from treadle.db.crons import CronFields, Crons
from treadle.db.pool import Pool
from treadle.db.runs import Runs
from treadle.db.ticks import Ticks
from treadle.messaging.connection import Nats
from treadle.messaging.delays import Schedules
from treadle.messaging.wakeups import WakeupPublisher
from treadle.model import DEFAULT_TENANT, Cron, OnMissed, default_assistant_id
from treadle.operations.assistants import AssistantChoice
from treadle.operations.cancel import Cancellation
from treadle.operations.create import Creation
from treadle.operations.first_wakeups import FirstWakeups
from treadle.operations.wakeups import Wakeups
from treadle.schedules import Schedule
from treadle.settings import Settings
from treadle.streaming import StreamLimits, connect
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle_scheduler.crons import CronDuty

GRAPH = "agent"
AWAY = "nats://127.0.0.1:1"
ASSISTANT = "insert into treadle.assistant (assistant_id, graph_id, name) values ($1, $2, $2)"
SETTINGS = Settings(database_uri="postgres://localhost/none", redis_uri="redis://127.0.0.1:1", nats_url=AWAY)
TICKS = "select * from treadle.tick where cron_id = $1 order by scheduled_for"
RUNS = "select * from treadle.run where run_id = any($1)"


class Clock:
    """Stands still until it is set."""

    def __init__(self, at: str | datetime) -> None:
        self.set(at)

    def set(self, at: str | datetime) -> None:
        self.now = datetime.fromisoformat(at) if isinstance(at, str) else at

    async def __call__(self) -> datetime:
        return self.now


class Ticking:
    """A duty with parts of its own, and what it does. NATS and Redis are away: the sweeper would tell of its runs."""

    def __init__(
        self, pool: Pool, clock: Clock | None = None, *, graphs: Sequence[str] = (GRAPH,), batch: int = 100
    ) -> None:
        runs, self.metrics = Runs(pool), Metrics()
        redis = connect(SETTINGS.redis_uri)
        nats = Nats(AWAY, name="test")
        self.creation = Creation(
            AssistantChoice(graphs, Assistants(pool)),
            runs,
            FirstWakeups(Wakeups(WakeupPublisher(nats, 1), None), self.metrics, Tracing()),
            Schedules(nats, 1, wanted=True),
            Cancellation(runs, redis, StreamLimits.of(SETTINGS)),
            None,
            self.metrics,
            Tracing(),
            None,
        )
        self.duty = CronDuty(
            Ticks(pool),
            self.creation,
            self.metrics,
            interval_secs=1,
            batch=batch,
            grace_secs=60,
            clock=clock,
        )

    def count(self, outcome: str) -> float:
        """Of ticks, by what came of them."""
        value = self.metrics.registry.get_sample_value("treadle_cron_ticks_total", {"outcome": outcome})
        assert value is not None
        return value


async def run_through(ticking: Ticking, clock: Clock, *, minutes: int) -> None:
    """Let time go by, a look every half minute."""
    for _ in range(2 * minutes):
        clock.set(clock.now + timedelta(seconds=30))
        await ticking.duty.round()


async def new_assistant(pool: Pool, graph: str = GRAPH) -> UUID:
    assistant_id = default_assistant_id(graph)
    await pool.execute(f"{ASSISTANT} on conflict do nothing", assistant_id, graph)
    return assistant_id


async def new_cron(
    pool: Pool,
    schedule: str,
    made: str | datetime,
    *,
    timezone: str | None = None,
    end_time: str | None = None,
    on_missed: OnMissed = "once",
    thread_id: UUID | None = None,
    enabled: bool = True,
    payload: dict[str, Any] | None = None,
    graph: str = GRAPH,
) -> Cron:
    """A cron that was made at a moment, and is due for the first time after it."""
    assistant_id = await new_assistant(pool, graph)
    at = datetime.fromisoformat(made) if isinstance(made, str) else made
    fields = CronFields(
        schedule=schedule,
        timezone=timezone,
        end_time=None if end_time is None else datetime.fromisoformat(end_time),
        enabled=enabled,
        on_run_completed=None if thread_id else "delete",
        payload={"assistant_id": str(assistant_id), **(payload or {})},
        metadata={},
        next_run_date=Schedule(schedule, timezone).after(at),
        on_missed=on_missed,
    )
    cron = await Crons(pool).create(DEFAULT_TENANT, uuid4(), assistant_id, thread_id, fields)
    assert cron is not None
    return cron


class Tick(msgspec.Struct, frozen=True):
    scheduled_for: datetime
    run_id: UUID | None
    thread_id: UUID | None
    error: str | None


async def ticks_of(pool: Pool, cron: Cron) -> list[Tick]:
    """The ticks of a cron in their order, after a look at the runs: each has its own."""
    rows = await pool.fetch(TICKS, cron.cron_id)
    made = [row["run_id"] for row in rows if row["run_id"] is not None]
    assert len({row["run_id"] for row in await pool.fetch(RUNS, made)}) == len(made)
    return [Tick(row["scheduled_for"], row["run_id"], row["thread_id"], row["error"]) for row in rows]


async def times_of(pool: Pool, cron: Cron) -> list[str]:
    """When a cron ticked, in UTC, as ISO 8601 without seconds that are zero."""
    return [
        each.scheduled_for.astimezone(UTC).strftime("%dT%H:%M:%S").removesuffix(":00")
        for each in await ticks_of(pool, cron)
    ]
