"""Accepting a run: what was asked for becomes a row, then a wake-up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any
from uuid import UUID

import msgspec

from treadle.db.new_run import NewRun as Row
from treadle.db.pool import COMMAND_TIMEOUT_SECS, postgres_errors
from treadle.db.runs import CancelledRun, Created, Requested, RequestKey, Runs
from treadle.errors import Conflict
from treadle.graphs.remote import answers_in
from treadle.messaging.delays import Schedules
from treadle.model import Assistant, MultitaskStrategy, Run, Ttl
from treadle.operations.accepting import accept
from treadle.operations.approvals import Approvals
from treadle.operations.asking import Asking
from treadle.operations.assistants import AssistantChoice
from treadle.operations.cancel import Cancellation
from treadle.operations.configs import merged_config, merged_context, thread_config
from treadle.operations.first_wakeups import FirstWakeups
from treadle.operations.ids import new_id
from treadle.operations.missing import no_thread
from treadle.operations.priorities import Priorities
from treadle.operations.room import QueueRoom
from treadle.operations.rush import Rush
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle.webhooks.policy import WebhookPolicy
from treadle.wire.runs import BatchRun, Checkpoint, NewRun

log = logging.getLogger(__name__)

ANNOUNCED_AT_ONCE = 64
# As long as a single statement: a batch holds the locks of its threads, and the places of its events, while it waits for another.
BATCH_SECS = COMMAND_TIMEOUT_SECS


class Creation:
    """Creates runs.

    Args:
        webhook_policy: where webhooks may go; None: runs are made, and their webhooks are left out.
        first_wakeups: tell the workers.
        room: whether one more run may wait; None: any number may.
        approvals: who may answer questions; None: whoever may resume.
        priorities: which runs go first; None: all are alike.
        rush: when they are told of runs that nobody waits for; None: at once.
        configurable: what the config of a run has besides, from the request that is being served.
    """

    def __init__(
        self,
        choice: AssistantChoice,
        runs: Runs,
        first_wakeups: FirstWakeups,
        schedules: Schedules,
        cancellation: Cancellation,
        webhook_policy: WebhookPolicy | None,
        metrics: Metrics,
        tracing: Tracing,
        default_ttl: Ttl | None,
        configurable: Callable[[], dict[str, str]] = dict,
        room: QueueRoom | None = None,
        rush: Rush | None = None,
        priorities: Priorities | None = None,
        approvals: Approvals | None = None,
    ) -> None:
        self._choice = choice
        self._runs = runs
        self._default_ttl = default_ttl
        self._first_wakeups = first_wakeups
        self._schedules = schedules
        self._cancellation = cancellation
        self._webhook_policy = webhook_policy
        self._metrics = metrics
        self._tracing = tracing
        self._configurable = configurable
        self._room = room
        self._rush = rush
        self._priorities = priorities
        self._approvals = approvals

    async def create(
        self,
        asking: Asking,
        run_id: UUID,
        thread_id: UUID,
        body: NewRun,
        *,
        stateless: bool,
        protocol: bool = False,
        asked_by: UUID | None = None,
        cron_id: UUID | None = None,
        background: bool = False,
    ) -> Run:
        """Accept a run. Once this returns the run will end, whatever dies; NATS need not be there.

        Args:
            asking: who asks; the graph reads it in its config.
            protocol: the run streams the events of the event streaming protocol.
            asked_by: the newest run of the thread when it was seen to ask what this one answers. If others have come since,
                and the strategy is `reject`, it is a Conflict.
            cron_id: the cron that asks for the run, by which clients and graphs know it.
            background: nobody waits for the run: in a rush it may begin a little later.

        Raises:
            InvalidRequest: a field cannot be used.
            Forbidden: whoever asks may not.
            NotFound: no such thread or assistant.
            Conflict: the thread is busy, and the strategy is `reject`; or somebody was quicker to answer.
            QueueFull: no more runs may wait.
            Unavailable: Postgres cannot be reached; nothing was accepted, unless it went away in the middle and stayed away.
        """
        self._check_room(asking, body)
        rush = self._rush if background else None
        while True:
            row = await self.row(asking, run_id, thread_id, body, stateless=stateless, cron_id=cron_id)
            if protocol:
                row.kwargs["protocol"] = True
            if asked_by is not None:
                row.kwargs["asked_by"] = str(asked_by)
            with nullcontext() if rush is None else rush.accepting():
                created = await accept(self._runs, row)
            if not self.out_of_date(row, created.outcome):
                return await self._accepted(row, created, rush)

    async def create_once(
        self, asking: Asking, body: BatchRun, key: RequestKey, *, has_waited: bool = False
    ) -> Requested:
        """Accept a run unless a request of this name was accepted before; then answer what that one made.

        Args:
            has_waited: for its room; it is not refused any more.

        Raises:
            InvalidRequest, NotFound, Conflict, QueueFull, Unavailable: as `create` does; no request of this name is kept.
        """
        if not has_waited:
            self._check_room(asking, body)
        while True:
            row = await self._row_of_batch(asking, body)
            with postgres_errors("creating a run"):
                requested = await self._runs.create_once(row, key)
            if requested.created is None:
                return requested
            if not self.out_of_date(row, requested.created.outcome):
                await self._accepted(row, requested.created)
                return requested

    async def requested(self, key: RequestKey) -> Requested | None:
        """What a request of this name has made, if there was one.

        Raises:
            Unavailable: Postgres cannot be reached.
        """
        with postgres_errors("looking for a request"):
            return await self._runs.requested(key)

    async def check(self, asking: Asking, body: NewRun) -> Assistant:
        """The assistant of a run that could be made now; raises as `create` does, and makes nothing."""
        assistant = await self._chosen(asking, body)
        self._checked_kwargs(body, assistant)
        return assistant

    async def create_all(self, asking: Asking, bodies: Sequence[BatchRun]) -> list[Run]:
        """Accept all of these runs in one transaction, in their order, or none of them. Raises as `create` does."""
        self._check_room(asking, *bodies)
        while True:
            rows = [await self._row_of_batch(asking, body) for body in bodies]
            # Two batches with threads in common must not wait for each other in a circle.
            ordered = sorted(rows, key=lambda row: row.thread_id)
            with postgres_errors("creating a batch of runs"):
                async with asyncio.timeout(BATCH_SECS):
                    created = await self._runs.create_all(ordered)
            if not self.out_of_date(ordered[len(created) - 1], created[-1].outcome):
                break
        _must_be_created(ordered[len(created) - 1], created[-1])
        runs = {row.run_id: _must_be_created(row, each) for row, each in zip(ordered, created, strict=True)}
        await self.announce_all((row, each.cancelled) for row, each in zip(ordered, created, strict=True))
        for run in runs.values():
            await self._schedule(run)
        return [runs[row.run_id] for row in rows]

    async def row(
        self,
        asking: Asking,
        run_id: UUID,
        thread_id: UUID,
        body: NewRun,
        *,
        stateless: bool,
        cron_id: UUID | None = None,
    ) -> Row:
        """A run's row, made from the assistant as it is remembered, for those who write it themselves.

        Args:
            cron_id: as `create` has it.

        Raises:
            InvalidRequest, Forbidden, NotFound, Unavailable: as `create` does.
        """
        assistant = await self._chosen(asking, body)
        kwargs = self._checked_kwargs(body, assistant)
        ids = {"graph_id": assistant.graph_id, "assistant_id": str(assistant.assistant_id)}
        kwargs["config"]["configurable"] |= self._configurable()
        if trace := self._trace():
            kwargs["trace"] = trace
        of_cron = {} if cron_id is None else {"cron_id": str(cron_id)}
        kwargs["config"]["configurable"] |= of_cron
        kwargs["config"]["metadata"] |= of_cron
        row = Row(
            run_id=run_id,
            thread_id=thread_id,
            assistant_id=assistant.assistant_id,
            graph_id=assistant.graph_id,
            assistant_revision=assistant.revision,
            kwargs=kwargs,
            metadata={**kwargs["config"]["metadata"], **ids},
            thread_metadata={**ids, **of_cron} if stateless else ids,
            thread_config=thread_config(assistant, body.config),
            strategy=body.multitask_strategy or MultitaskStrategy.ENQUEUE,
            if_not_exists="create" if stateless else body.if_not_exists or "reject",
            delay_secs=body.after_seconds or None,
            stateless=stateless and body.on_completion != "keep",
            thread_ttl=self._default_ttl,
        )
        row = await asking.may_run(row)
        if self._approvals is not None:
            await self._approvals.check_run(asking, row)
        if self._priorities is None:
            return row
        known = None if stateless else thread_id
        priority = await self._priorities.of_run(asking, assistant, row, known)
        return msgspec.structs.replace(row, priority=priority)

    def out_of_date(self, row: Row, outcome: str) -> bool:
        """Whether the assistant has changed since it was remembered; it is read again then."""
        changed = outcome == "assistant_changed"
        if changed:
            self._choice.forget(row.assistant_id)
        return changed

    async def announce(self, row: Row, cancelled: Iterable[CancelledRun], rush: Rush | None = None) -> None:
        """Tell who must know of a run that is committed: those whom it cancelled, and the workers."""
        self._metrics.runs_created.inc()
        for each in cancelled:
            await self._cancellation.announce(each, row.strategy)
        if self._priorities is not None:
            await self._priorities.keep(row)
        if row.delay_secs is None:
            await (rush or self._first_wakeups).wake(row)

    async def announce_all(self, accepted: Iterable[tuple[Row, Iterable[CancelledRun]]]) -> None:
        """The same for many, many at a time: a publish waits for a disk, and would wait for each before it."""
        waiting = iter(accepted)

        async def one_after_another() -> None:
            for row, cancelled in waiting:
                await self.announce(row, cancelled)

        async with asyncio.TaskGroup() as tasks:
            for place in range(ANNOUNCED_AT_ONCE):
                tasks.create_task(one_after_another(), name=f"announcing-{place}")

    async def _accepted(self, row: Row, created: Created, rush: Rush | None = None) -> Run:
        run = _must_be_created(row, created)
        await self.announce(row, created.cancelled, rush)
        await self._schedule(run)
        return run

    async def _schedule(self, run: Run) -> None:
        """Have NATS say when a delayed run comes due."""
        if run.not_before is not None:
            await self._schedules.add(run, headers=self._trace())

    def _check_room(self, asking: Asking, *bodies: NewRun) -> None:
        if self._room is not None:
            self._room.check(asking.tenant, *bodies)

    async def _chosen(self, asking: Asking, body: NewRun) -> Assistant:
        scope = await asking.assistants(self._choice.id_of(body.assistant_id))
        return await self._choice.choose(scope, body.assistant_id)

    async def _row_of_batch(self, asking: Asking, body: BatchRun) -> Row:
        stateless = body.thread_id is None
        return await self.row(asking, new_id(), body.thread_id or new_id(), body, stateless=stateless)

    def _checked_kwargs(self, body: NewRun, assistant: Assistant) -> dict[str, Any]:
        kwargs = _kwargs(body, assistant)
        if self._webhook_policy is None:
            kwargs["webhook"] = None
        elif body.webhook is not None:
            self._webhook_policy.check(body.webhook)
        return kwargs

    def _trace(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        self._tracing.inject(headers)
        return headers


def _must_be_created(row: Row, created: Created) -> Run:
    if created.outcome == "thread_not_found":
        raise no_thread(row.thread_id, ". Create it first, or send `if_not_exists`: `create`.")
    if created.outcome == "answered":
        raise Conflict(
            "This question has been answered already: another run that answers it waits or is on, or has ended by now. Wait "
            "for its end, and look at what the thread asks then: if it is what you answer, send the answer again. To take that answer back, use `multitask_strategy`: `rollback`."
        )
    if created.outcome == "busy" or created.run is None:
        raise Conflict(
            "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
        )
    return created.run


def _kwargs(body: NewRun, assistant: Assistant) -> dict[str, Any]:
    """What the worker executes, and what a client sees of its request."""
    modes = body.stream_mode or "values"
    return {
        "input": body.input,
        **_command(body),
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
        "webhook": body.webhook,
        "feedback_keys": body.feedback_keys,
        **_tracer(body),
    }


def _command(body: NewRun) -> dict[str, Any]:
    """The request's; or the answers that a RemoteGraph passes on, which are allowed, recorded and given as those of a command."""
    if body.command is not None:
        return {"command": msgspec.to_builtins(body.command)}
    configurable = None if body.config is None else body.config.configurable
    if (answers := answers_in(configurable or {})) is None:
        return {"command": None}
    return {"command": {"resume": answers}, "remote": True}


def _tracer(body: NewRun) -> dict[str, Any]:
    tracer = body.langsmith_tracer
    return {} if tracer is None else {"langsmith_tracer": msgspec.to_builtins(tracer)}


def _checkpoint(body: NewRun) -> dict[str, Any] | None:
    if body.checkpoint is None and body.checkpoint_id is None:
        return None
    checkpoint = body.checkpoint or Checkpoint(checkpoint_id=body.checkpoint_id)
    return msgspec.to_builtins(checkpoint)
