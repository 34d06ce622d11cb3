"""What happened to runs, as other services learn of it over NATS."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from treadle.model import DEFAULT_TENANT

RunEventStatus = Literal["pending", "running", "success", "error", "timeout", "interrupted", "rolled_back"]


class RunEvent(Struct, frozen=True, kw_only=True):
    """A run came to a status, or (`running` again) to another attempt. Ids only: what it was given and gave is asked for.

    `event_id` is the same in every repetition, and the message's `Nats-Msg-Id`. `rolled_back`: the run was removed before
    it ended. `at` is the moment by the database's clock, a little before it was committed.
    """

    event_id: str
    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    graph_id: str
    status: RunEventStatus
    attempt: int
    tenant: str = DEFAULT_TENANT
    at: datetime
