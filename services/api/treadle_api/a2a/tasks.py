"""Tasks, as the protocol describes them, from what Postgres knows of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID, uuid5

from a2a.helpers.proto_helpers import new_data_part, new_text_part
from a2a.types.a2a_pb2 import Artifact, Message, Part, Role, Task, TaskState, TaskStatus

from treadle.model import Run, RunStatus
from treadle_api.a2a.ids import TaskId
from treadle_api.a2a.parts import part_of, text_of

STATES = {
    RunStatus.PENDING: TaskState.TASK_STATE_SUBMITTED,
    RunStatus.RUNNING: TaskState.TASK_STATE_WORKING,
    RunStatus.SUCCESS: TaskState.TASK_STATE_COMPLETED,
    RunStatus.ERROR: TaskState.TASK_STATE_FAILED,
    RunStatus.TIMEOUT: TaskState.TASK_STATE_FAILED,
    RunStatus.INTERRUPTED: TaskState.TASK_STATE_CANCELED,
}
QUESTIONS = "Interrupt"
ANSWER = "Assistant Response"
ROLES = {"human": Role.ROLE_USER, "ai": Role.ROLE_AGENT}


def state_of(run: Run) -> TaskState:
    """Where a task stands whose newest run this is."""
    return TaskState.TASK_STATE_INPUT_REQUIRED if questions(run) else STATES[run.status]


def questions(run: Run) -> list[dict[str, Any]]:
    """What a run stopped to ask: each with its id and value."""
    if run.status is not RunStatus.SUCCESS:
        return []
    return _values(run).get("__interrupt__") or []


def task_of(task: TaskId, run: Run, openings: Mapping[str, UUID]) -> Task:
    """A task, with all messages of its context that there were when its newest run ended.

    Args:
        openings: the task that each message from outside belongs to; what follows a message belongs to the same.
    """
    return Task(
        id=str(task),
        context_id=str(task.thread_id),
        status=status_of(task, run),
        artifacts=artifacts_of(run),
        history=_history(task, run, openings),
    )


def status_of(task: TaskId, run: Run) -> TaskStatus:
    """The status, with what is asked, or what went wrong, as its message."""
    parts = [part_of(question.get("value")) for question in questions(run)]
    if STATES[run.status] == TaskState.TASK_STATE_FAILED:
        parts = [new_text_part(_failure(run))]
    message = None
    if parts:
        message = _message(task, f"{run.run_id}-status", Role.ROLE_AGENT, parts)
    status = TaskStatus(state=state_of(run), message=message)
    status.timestamp.FromDatetime(run.updated_at)
    return status


def artifacts_of(run: Run) -> list[Artifact]:
    """What a run brought about, or what it stopped to ask."""
    if run.status is not RunStatus.SUCCESS:
        return []
    if asked := questions(run):
        parts = [
            new_data_part({"id": question.get("id"), "value": question.get("value")}) for question in asked
        ]
        return [_artifact(run, QUESTIONS, "Agent requires input to continue", parts)]
    return [
        _artifact(run, ANSWER, f"Response from assistant {run.assistant_id}", [_answer(_values(run), run)])
    ]


def _answer(values: Mapping[str, Any], run: Run) -> Part:
    """What was said last; everything, where nothing was said."""
    for message in reversed(_messages(values)):
        if message.get("type") == "ai" and (text := text_of(message.get("content"))):
            return new_text_part(text)
    return part_of(run.output)


def _history(task: TaskId, run: Run, openings: Mapping[str, UUID]) -> list[Message]:
    told: list[Message] = []
    belongs = task
    for message in _messages(_values(run)):
        message_id = str(message.get("id") or "")
        if message_id in openings:
            belongs = TaskId(task.thread_id, openings[message_id])
        role, text = ROLES.get(message.get("type", "")), text_of(message.get("content"))
        if role is not None and text:
            told.append(_message(belongs, message_id, role, [new_text_part(text)]))
    return told


def _messages(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages: Any = values.get("messages")
    if not isinstance(messages, list):
        return []
    return [
        cast("dict[str, Any]", message)
        for message in cast("list[Any]", messages)
        if isinstance(message, dict)
    ]


def _values(run: Run) -> dict[str, Any]:
    return cast("dict[str, Any]", run.output) if isinstance(run.output, dict) else {}


def _failure(run: Run) -> str:
    error = cast("dict[str, str]", run.error or {})
    return f"{error.get('error', 'Error')}: {error.get('message', 'the run failed')}"


def _message(task: TaskId, message_id: str, role: Role, parts: list[Part]) -> Message:
    return Message(
        message_id=message_id, context_id=str(task.thread_id), task_id=str(task), role=role, parts=parts
    )


def _artifact(run: Run, name: str, description: str, parts: list[Part]) -> Artifact:
    """With an id that is the same whenever the task is asked for."""
    return Artifact(artifact_id=str(uuid5(run.run_id, name)), name=name, description=description, parts=parts)
