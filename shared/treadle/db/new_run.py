"""A run as it is asked for, and what the statements take that make one: on request, once for a name, or for a tick."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from treadle import json
from treadle.db.scope import DEFAULT, Scope
from treadle.model import MultitaskStrategy, Ttl


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is asked for; `kwargs` is what the worker needs to execute it.

    `assistant_revision`: what the assistant was when `kwargs` were made from it; None: they do not depend on it.
    `thread_ttl`: the time to live of a thread that comes with the run; None: for ever.
    `priority`: of its thread, if that has none yet.
    `scope`: where its thread has to be, and of whose tenant one is that comes with the run.
    """

    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    graph_id: str
    assistant_revision: UUID | None = None
    kwargs: dict[str, Any]
    metadata: dict[str, Any] = {}
    thread_metadata: dict[str, Any] = {}
    thread_config: dict[str, Any] = {}
    strategy: MultitaskStrategy = MultitaskStrategy.ENQUEUE
    if_not_exists: Literal["create", "reject"] = "reject"
    delay_secs: float | None = None
    route: str = "default"
    stateless: bool = False
    thread_ttl: Ttl | None = None
    priority: int | None = None
    scope: Scope = DEFAULT

    @property
    def attempt(self) -> int:
        """Nobody has claimed it yet."""
        return 0

    @property
    def lifetime(self) -> tuple[str | None, float | None]:
        """Of the thread, if it comes with the run and is not the run's own."""
        if self.thread_ttl is None or self.stateless or self.if_not_exists != "create":
            return None, None
        return self.thread_ttl.strategy, self.thread_ttl.minutes

    def parameters(self) -> tuple[object, ...]:
        """What the statements that make a run take, in their order."""
        return (
            self.run_id,
            self.thread_id,
            self.assistant_id,
            self.graph_id,
            json.text(self.kwargs),
            json.jsonb_text(json.encode(self.metadata)),
            self.strategy,
            self.if_not_exists,
            None if self.delay_secs is None else timedelta(seconds=self.delay_secs),
            self.route,
            self.stateless,
            json.jsonb_text(json.encode(self.thread_metadata)),
            json.jsonb_text(json.encode(self.thread_config)),
            self.assistant_revision,
            *self.lifetime,
            *self.scope,
        )
