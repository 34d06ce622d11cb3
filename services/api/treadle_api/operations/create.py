"""Accepting a run: what was asked for becomes a row, then a wake-up."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

import msgspec

from treadle.db.pool import postgres_errors
from treadle.db.runs import NewRun as Row
from treadle.db.runs import Runs
from treadle.errors import Conflict, InvalidRequest
from treadle.messaging.subjects import wakeup_subject
from treadle.messaging.wakeups import Source, WakeupPublisher
from treadle.model import MultitaskStrategy, Run
from treadle.telemetry import conventions
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle_api.bodies.fields import Checkpoint
from treadle_api.bodies.runs import Config, NewRun
from treadle_api.missing import no_thread
from treadle_api.operations.assistants import AssistantChoice, Chosen
from treadle_api.operations.cancel import Cancellation

log = logging.getLogger(__name__)

# As the default assistants have it.
CREATOR = {"created_by": "system"}


class Creation:
    """Creates runs."""

    def __init__(
        self,
        choice: AssistantChoice,
        runs: Runs,
        publisher: WakeupPublisher,
        cancellation: Cancellation,
        metrics: Metrics,
        tracing: Tracing,
    ) -> None:
        self._choice = choice
        self._runs = runs
        self._publisher = publisher
        self._cancellation = cancellation
        self._metrics = metrics
        self._tracing = tracing

    async def create(self, run_id: UUID, thread_id: UUID, body: NewRun, *, stateless: bool) -> Run:
        """Accept a run. Once this returns the run will end, whatever dies; NATS need not be there.

        Raises:
            InvalidRequest: a field cannot be used.
            NotFound: no such thread or assistant.
            Conflict: the thread is busy, and the strategy is `reject`.
            Unavailable: Postgres cannot be reached; nothing was accepted.
        """
        chosen = await self._choice.choose(body.assistant_id)
        row = self._row(run_id, thread_id, body, chosen, stateless=stateless)
        with postgres_errors("creating a run"):
            created = await self._runs.create(row)
        if created.outcome == "thread_not_found":
            raise no_thread(thread_id, ". Create it first, or send `if_not_exists`: `create`.")
        if created.outcome == "busy" or created.run is None:
            raise Conflict(
                "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
            )
        self._metrics.runs_created.inc()
        for cancelled in created.cancelled:
            await self._cancellation.announce(cancelled, row.strategy)
        if created.run.not_before is None:
            await self._wake(created.run)
        return created.run

    async def _wake(self, run: Run) -> None:
        """Tell the workers. When NATS does not take it, the sweeper does."""
        message_id = f"{run.run_id}:{run.attempt}"
        with self._tracing.span(
            *conventions.publish(wakeup_subject(run.route, run.thread_id), run.route, message_id)
        ):
            published = await self._publisher.publish(run, Source.CREATE, headers=self._trace())
        (self._metrics.wakeups if published else self._metrics.wakeup_failures)["create"].inc()

    def _row(self, run_id: UUID, thread_id: UUID, body: NewRun, chosen: Chosen, *, stateless: bool) -> Row:
        ids = {"graph_id": chosen.graph_id, "assistant_id": str(chosen.assistant_id)}
        kwargs = _kwargs(body)
        config = {name: value for name, value in kwargs["config"].items() if name != "metadata"}
        if trace := self._trace():
            kwargs["trace"] = trace
        return Row(
            run_id=run_id,
            thread_id=thread_id,
            assistant_id=chosen.assistant_id,
            graph_id=chosen.graph_id,
            kwargs=kwargs,
            metadata={**kwargs["config"]["metadata"], **ids},
            thread_metadata=ids,
            thread_config={**config, "configurable": {}},
            strategy=body.multitask_strategy or MultitaskStrategy.ENQUEUE,
            if_not_exists="create" if stateless else body.if_not_exists or "reject",
            delay_secs=body.after_seconds or None,
            stateless=stateless and body.on_completion != "keep",
        )

    def _trace(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        self._tracing.inject(headers)
        return headers


def _kwargs(body: NewRun) -> dict[str, Any]:
    """What the worker executes, and what a client sees of its request."""
    if body.webhook is not None:
        raise InvalidRequest("webhook: this server does not call webhooks; leave the field out.")
    modes = body.stream_mode or "values"
    return {
        "input": body.input,
        "command": None if body.command is None else msgspec.to_builtins(body.command),
        "config": _config(body),
        "context": body.context or _configurable(body),
        "checkpoint": _checkpoint(body),
        "stream_mode": [modes] if isinstance(modes, str) else modes,
        "interrupt_before": body.interrupt_before,
        "interrupt_after": body.interrupt_after,
        "subgraphs": bool(body.stream_subgraphs),
        "resumable": bool(body.stream_resumable),
        "durability": body.durability or ("exit" if body.checkpoint_during is False else "async"),
    }


def _config(body: NewRun) -> dict[str, Any]:
    """The run's config with its metadata in it; `context` and `configurable` stand in for each other."""
    config = body.config or Config()
    if body.context and config.configurable:
        raise InvalidRequest(
            "context: a run takes either `context` or `config.configurable`, not both; `context` is the newer one."
        )
    made: dict[str, Any] = msgspec.to_builtins(config)
    made["configurable"] = body.context or _configurable(body)
    made["metadata"] = {**CREATOR, **(config.metadata or {}), **(body.metadata or {})}
    return made


def _configurable(body: NewRun) -> dict[str, Any]:
    return (None if body.config is None else body.config.configurable) or {}


def _checkpoint(body: NewRun) -> dict[str, Any] | None:
    if body.checkpoint is None and body.checkpoint_id is None:
        return None
    checkpoint = body.checkpoint or Checkpoint(checkpoint_id=body.checkpoint_id)
    return msgspec.to_builtins(checkpoint)
