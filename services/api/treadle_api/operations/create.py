"""Accepting a run: what was asked for becomes a row, then a wake-up."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

import msgspec

from treadle.db.pool import postgres_errors
from treadle.db.runs import Created, Runs
from treadle.db.runs import NewRun as Row
from treadle.db.threads import Threads
from treadle.errors import Conflict, InvalidRequest
from treadle.messaging.subjects import wakeup_subject
from treadle.messaging.wakeups import Source, WakeupPublisher
from treadle.model import Assistant, MultitaskStrategy, Run, Ttl
from treadle.telemetry import conventions
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle_api.bodies.fields import Checkpoint
from treadle_api.bodies.runs import NewRun
from treadle_api.missing import no_thread
from treadle_api.operations.assistants import AssistantChoice
from treadle_api.operations.cancel import Cancellation
from treadle_api.operations.configs import merged_config, merged_context, thread_config
from treadle_api.shell.headers import RequestHeaders

log = logging.getLogger(__name__)


class Creation:
    """Creates runs."""

    def __init__(
        self,
        choice: AssistantChoice,
        runs: Runs,
        threads: Threads,
        publisher: WakeupPublisher,
        cancellation: Cancellation,
        metrics: Metrics,
        tracing: Tracing,
        default_ttl: Ttl | None,
        headers: RequestHeaders,
    ) -> None:
        self._choice = choice
        self._runs = runs
        self._threads = threads
        self._default_ttl = default_ttl
        self._publisher = publisher
        self._cancellation = cancellation
        self._metrics = metrics
        self._tracing = tracing
        self._headers = headers

    async def create(self, run_id: UUID, thread_id: UUID, body: NewRun, *, stateless: bool) -> Run:
        """Accept a run. Once this returns the run will end, whatever dies; NATS need not be there.

        Raises:
            InvalidRequest: a field cannot be used.
            NotFound: no such thread or assistant.
            Conflict: the thread is busy, and the strategy is `reject`.
            Unavailable: Postgres cannot be reached; nothing was accepted.
        """
        row, created = await self._insert(run_id, thread_id, body, stateless=stateless)
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

    async def _insert(
        self, run_id: UUID, thread_id: UUID, body: NewRun, *, stateless: bool
    ) -> tuple[Row, Created]:
        """The run's row, made from the assistant as it is, and not as it is remembered."""
        while True:
            assistant = await self._choice.choose(body.assistant_id)
            row = self._row(run_id, thread_id, body, assistant, stateless=stateless)
            with postgres_errors("creating a run"):
                if self._default_ttl is not None and row.if_not_exists == "create" and not row.stateless:
                    await self._threads.create(thread_id, row.thread_metadata, self._default_ttl)
                created = await self._runs.create(row)
            if created.outcome != "assistant_changed":
                return row, created
            self._choice.forget(assistant.assistant_id)

    async def _wake(self, run: Run) -> None:
        """Tell the workers. When NATS does not take it, the sweeper does."""
        message_id = f"{run.run_id}:{run.attempt}"
        with self._tracing.span(
            *conventions.publish(wakeup_subject(run.route, run.thread_id), run.route, message_id)
        ):
            published = await self._publisher.publish(run, Source.CREATE, headers=self._trace())
        (self._metrics.wakeups if published else self._metrics.wakeup_failures)["create"].inc()

    def _row(
        self, run_id: UUID, thread_id: UUID, body: NewRun, assistant: Assistant, *, stateless: bool
    ) -> Row:
        ids = {"graph_id": assistant.graph_id, "assistant_id": str(assistant.assistant_id)}
        kwargs = _kwargs(body, assistant)
        kwargs["config"]["configurable"] |= self._headers.configurable
        if trace := self._trace():
            kwargs["trace"] = trace
        return Row(
            run_id=run_id,
            thread_id=thread_id,
            assistant_id=assistant.assistant_id,
            graph_id=assistant.graph_id,
            assistant_revision=assistant.revision,
            kwargs=kwargs,
            metadata={**kwargs["config"]["metadata"], **ids},
            thread_metadata=ids,
            thread_config=thread_config(assistant, body.config),
            strategy=body.multitask_strategy or MultitaskStrategy.ENQUEUE,
            if_not_exists="create" if stateless else body.if_not_exists or "reject",
            delay_secs=body.after_seconds or None,
            stateless=stateless and body.on_completion != "keep",
        )

    def _trace(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        self._tracing.inject(headers)
        return headers


def _kwargs(body: NewRun, assistant: Assistant) -> dict[str, Any]:
    """What the worker executes, and what a client sees of its request."""
    if body.webhook is not None:
        raise InvalidRequest("webhook: this server does not call webhooks; leave the field out.")
    modes = body.stream_mode or "values"
    return {
        "input": body.input,
        "command": None if body.command is None else msgspec.to_builtins(body.command),
        "config": merged_config(assistant, body.config, body.context, body.metadata),
        "context": merged_context(assistant, body.config, body.context),
        "checkpoint": _checkpoint(body),
        "stream_mode": [modes] if isinstance(modes, str) else modes,
        "interrupt_before": body.interrupt_before,
        "interrupt_after": body.interrupt_after,
        "subgraphs": bool(body.stream_subgraphs),
        "resumable": bool(body.stream_resumable),
        "durability": body.durability or ("exit" if body.checkpoint_during is False else "async"),
        **({"strict_resume": True} if body.strict_resume else {}),
    }


def _checkpoint(body: NewRun) -> dict[str, Any] | None:
    if body.checkpoint is None and body.checkpoint_id is None:
        return None
    checkpoint = body.checkpoint or Checkpoint(checkpoint_id=body.checkpoint_id)
    return msgspec.to_builtins(checkpoint)
