"""The domain's values: what a run, a thread and an assistant are, wherever they appear."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID, uuid5

import msgspec

# Of whoever is in none, and of all that was made before there were tenants.
DEFAULT_TENANT = "default"
# A graph's default assistant has a name-based id, so that every server and client derives the same.
ASSISTANT_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


class RunStatus(StrEnum):
    """Where a run stands. pending -> running -> one of the terminal ones; running -> pending on a drain."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"

    @property
    def terminal(self) -> bool:
        return self not in (RunStatus.PENDING, RunStatus.RUNNING)


# The status in an end marker of a run of which nothing is left.
ROLLED_BACK = "rolled_back"


class CancelAction(StrEnum):
    """`interrupt` keeps the run and its checkpoints, `rollback` removes both."""

    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


class MultitaskStrategy(StrEnum):
    """What a new run does to the runs that its thread still has."""

    REJECT = "reject"
    ENQUEUE = "enqueue"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


# Kept with a run for Treadle's own use, and not shown.
PRIVATE_KWARGS = frozenset(
    {"tenant", "trace", "protocol", "authenticated", "continues", "asked_by", "remote"}
)


OnMissed = Literal["once", "skip"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of values that are read from a row."""


class Run(Record, frozen=True, kw_only=True):
    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    graph_id: str
    seq: int
    status: RunStatus
    attempt: int
    crashes: int
    not_before: datetime | None
    cancel_action: CancelAction | None
    multitask_strategy: MultitaskStrategy
    metadata: dict[str, Any]
    kwargs: dict[str, Any]
    route: str
    output: Any
    error: Any
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def tenant(self) -> str:
        """Whose its thread is."""
        return tenant_of(self.kwargs)


def tenant_of(kwargs: Mapping[str, Any]) -> str:
    """The tenant of a run with these kwargs."""
    return kwargs.get("tenant") or DEFAULT_TENANT


class Ttl(msgspec.Struct, frozen=True):
    """How long a thread is kept after the last thing that happened on it, and what is done then.

    `delete` removes it, `keep_latest` only its checkpoints but the newest.
    """

    strategy: Literal["delete", "keep_latest"]
    minutes: float


class Thread(Record, frozen=True, kw_only=True):
    thread_id: UUID
    status: str
    metadata: dict[str, Any]
    config: dict[str, Any]
    values: dict[str, Any] | None
    interrupts: dict[str, Any]
    error: Any
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime
    stateless: bool
    tenant: str
    ttl_strategy: Literal["delete", "keep_latest"] | None
    ttl_minutes: float | None
    expires_at: datetime | None


class Assistant(Record, frozen=True, kw_only=True):
    assistant_id: UUID
    graph_id: str
    name: str
    description: str | None
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    version: int
    tenant: str
    # Everybody's to read and to run; the default one of a graph.
    shared: bool
    # Never the same again once anything of the assistant has changed.
    revision: UUID
    created_at: datetime
    updated_at: datetime


class AssistantVersion(Record, frozen=True, kw_only=True):
    """What an assistant is, or was, under one of its version numbers."""

    assistant_id: UUID
    version: int
    graph_id: str
    name: str
    description: str | None
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    created_at: datetime


class Cron(Record, frozen=True, kw_only=True):
    """Runs that are made on a schedule. `payload` is what is asked for each time, as a request for a run has it.

    `on_missed`: what of the ticks that nobody was there to make: `once`, a run for the newest of them, or `skip`.
    """

    cron_id: UUID
    assistant_id: UUID
    thread_id: UUID | None
    schedule: str
    timezone: str | None
    end_time: datetime | None
    enabled: bool
    on_run_completed: Literal["delete", "keep"] | None
    on_missed: OnMissed
    payload: dict[str, Any]
    metadata: dict[str, Any]
    tenant: str
    asking: dict[str, Any] | None
    next_run_date: datetime | None
    created_at: datetime
    updated_at: datetime


class CronWithTick(Cron, frozen=True, kw_only=True):
    """A cron with its newest tick that is remembered: its run and that run's thread, or why there is none."""

    last_run_id: UUID | None
    last_thread_id: UUID | None
    last_error: str | None


@lru_cache(maxsize=1024)
def default_assistant_id(graph_id: str) -> UUID:
    """The id of the assistant that every graph has."""
    return uuid5(ASSISTANT_NAMESPACE, graph_id)
