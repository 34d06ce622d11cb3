"""What an agent does: it takes messages, works on tasks, and tells how they stand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, cast

from a2a.helpers.proto_helpers import new_text_status_update_event
from a2a.server.events import Event
from a2a.types.a2a_pb2 import (
    Message,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from a2a.utils.errors import TaskNotCancelableError, UnsupportedOperationError

from treadle import json
from treadle.db.pool import postgres_errors
from treadle.db.scope import Scope
from treadle.errors import Conflict, NotFound
from treadle.identity.caller import Permission
from treadle.model import Assistant, CancelAction, Run
from treadle.patience import patiently
from treadle.streaming import Event as RunEvent
from treadle.wire.runs import StreamMode
from treadle_api.a2a.endpoint import Sources
from treadle_api.a2a.ids import TaskId
from treadle_api.a2a.intake import ENDED, Intake, Wanted
from treadle_api.a2a.parts import text_of
from treadle_api.a2a.tasks import artifacts_of, state_of, status_of, task_of
from treadle_api.access.access import Access
from treadle_api.operations.following import Followed

STREAMED: list[StreamMode] = ["messages"]


class Agent:
    """Every assistant of this server, as an agent of one client."""

    def __init__(self, access: Access, sources: Sources) -> None:
        self.runs = sources.runs
        self.access = access
        self._intake = Intake(sources.runs, sources.schemas)
        self._following = sources.following
        self._cancellation = sources.cancellation
        # Of a task that this client has been let through to.
        self._own = Scope(access.tenant)

    async def send(self, assistant: Assistant, message: Message, *, at_once: bool) -> Task:
        """Take a message, and tell how its task stands once its run has ended; or at once.

        Raises:
            A2AError: as `Intake.read` does, or another message was quicker to answer the task.
        """
        wanted = await self._read(assistant, message)
        async with self._begun(wanted) as followed:
            if at_once:
                return _submitted(wanted.task, followed.run, message)
            await followed.result()
        return await self._now(assistant, wanted.task)

    async def stream(self, assistant: Assistant, message: Message) -> AsyncGenerator[Event]:
        """Take a message, and tell of its task until its run ends. Raises as `send` does."""
        wanted = await self._read(assistant, message)
        wanted.body.stream_mode = STREAMED
        async with self._begun(wanted) as followed:
            yield _submitted(wanted.task, followed.run, message)
            async for event in self._told(assistant, wanted.task, followed):
                yield event

    async def follow(self, assistant: Assistant, text: str) -> AsyncGenerator[Event]:
        """Tell of a task until its run ends, whoever it was that sent the message.

        Raises:
            TaskNotFoundError: the assistant has no such task.
            UnsupportedOperationError: it has ended.
        """
        task, run = await self.find(assistant, text)
        if state_of(run) in ENDED:
            raise UnsupportedOperationError(f"Task {task} has ended: there is nothing more to follow.")
        async with self._following.join(run) as followed:
            yield await self.describe(task, run)
            if not run.status.terminal:
                async for event in self._told(assistant, task, followed):
                    yield event

    async def cancel(self, assistant: Assistant, text: str) -> Task:
        """Cancel the run that a task has on, and wait for its end.

        Raises:
            TaskNotFoundError: the assistant has no such task.
            TaskNotCancelableError: nothing of it is going on.
        """
        task, run = await self.find(assistant, text)
        value: dict[str, Any] = {
            "thread_id": run.thread_id,
            "run_id": run.run_id,
            "metadata": {},
            "action": "interrupt",
        }
        scope = await self.access.allow("threads", "update", value, needs=Permission.RUN)
        try:
            await self._cancellation.cancel(scope, run.thread_id, run.run_id, CancelAction.INTERRUPT)
        except NotFound as error:
            raise TaskNotCancelableError("Task is not cancelable in its current state") from error
        async with self._following.join(run) as followed:
            await followed.result()
        return await self._now(assistant, task)

    async def _read(self, assistant: Assistant, message: Message) -> Wanted:
        task = TaskId.parse(message.task_id) if message.task_id else None
        return await self._intake.read(self.access, await self._readable(task), assistant, message)

    async def find(self, assistant: Assistant, text: str) -> tuple[TaskId, Run]:
        """A task by its id, and its newest run. Raises TaskNotFoundError."""
        return await self._intake.find(await self._readable(TaskId.parse(text)), assistant, text)

    async def _readable(self, task: TaskId | None) -> Scope:
        """Where the thread of a task may be read; None: of a task that has none yet."""
        value: dict[str, Any] = {"thread_id": None if task is None else task.thread_id, "metadata": {}}
        return await self.access.allow("threads", "read", value)

    async def describe(self, task: TaskId, run: Run) -> Task:
        """How a task stands whose newest run this is."""
        with postgres_errors("reading a task"):
            return task_of(task, run, await self.runs.openings(task.thread_id))

    async def _now(self, assistant: Assistant, task: TaskId) -> Task:
        """How a task stands whose run has ended. Whoever heard an error instead would send the message again."""

        async def read() -> Task:
            return await self.describe(*await self._intake.find(self._own, assistant, str(task)))

        return await patiently("Postgres", read)

    @asynccontextmanager
    async def _begun(self, wanted: Wanted) -> AsyncGenerator[Followed]:
        try:
            async with self._following.begin(
                self.access,
                wanted.task.thread_id,
                wanted.body,
                stateless=False,
                run_id=wanted.run_id,
                asked_by=wanted.asked_by,
            ) as followed:
                yield followed
        except Conflict as error:
            raise UnsupportedOperationError(
                f"Task {wanted.task} is at work: another message was quicker. {error}"
            ) from error

    async def _told(self, assistant: Assistant, task: TaskId, followed: Followed) -> AsyncGenerator[Event]:
        """What is said while a run is on, and what became of it."""
        last = ""
        async with aclosing(followed.events()) as events:
            async for event in events:
                if (text := _said(event)) and text != last:
                    yield _working(task, last := text)
        await followed.result()
        _, run = await patiently("Postgres", partial(self._intake.find, self._own, assistant, str(task)))
        for event in _outcome(task, run):
            yield event


def _submitted(task: TaskId, run: Run, message: Message) -> Task:
    """A task as it begins, with the message that it came from."""
    own = Message()
    own.CopyFrom(message)
    own.task_id, own.context_id = str(task), str(task.thread_id)
    status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
    status.timestamp.FromDatetime(run.created_at)
    return Task(id=str(task), context_id=str(task.thread_id), status=status, history=[own])


def _said(event: RunEvent) -> str:
    """What the agent has said so far in the message that it is at."""
    if event.event.partition("|")[0] not in ("messages/partial", "messages/complete"):
        return ""
    [message, *_] = cast("list[dict[str, Any]]", json.decode(event.data)) or [{}]
    return text_of(message.get("content")) if str(message.get("type", "")).startswith(("ai", "AI")) else ""


def _working(task: TaskId, text: str) -> TaskStatusUpdateEvent:
    event = new_text_status_update_event(str(task), str(task.thread_id), TaskState.TASK_STATE_WORKING, text)
    event.status.timestamp.GetCurrentTime()
    return event


def _outcome(task: TaskId, run: Run) -> Iterator[Event]:
    task_id, context_id = str(task), str(task.thread_id)
    for artifact in artifacts_of(run):
        yield TaskArtifactUpdateEvent(
            task_id=task_id, context_id=context_id, artifact=artifact, append=False, last_chunk=True
        )
    yield TaskStatusUpdateEvent(task_id=task_id, context_id=context_id, status=status_of(task, run))
