"""What a message asks for, as a run."""

from __future__ import annotations

from typing import Any, NamedTuple, cast
from uuid import UUID

from a2a.types.a2a_pb2 import Message, TaskState
from a2a.utils.errors import InvalidParamsError, TaskNotFoundError, UnsupportedOperationError

from treadle.db.pool import postgres_errors
from treadle.db.scope import Scope
from treadle.db.tasks import TaskRuns
from treadle.model import Assistant, MultitaskStrategy, Run
from treadle.operations.asking import Asking
from treadle.operations.ids import new_id
from treadle.wire.runs import Command, NewRun
from treadle_api.a2a.ids import TaskId
from treadle_api.a2a.parts import chat_message, data_of
from treadle_api.a2a.tasks import questions, state_of
from treadle_api.operations.schemas import Schemas

MESSAGES = "messages"
RESUME = "resume"
ENDED = frozenset(
    {
        TaskState.TASK_STATE_COMPLETED,
        TaskState.TASK_STATE_FAILED,
        TaskState.TASK_STATE_CANCELED,
    }
)


class Wanted(NamedTuple):
    """The run that a message asks for, and the task that it belongs to; `asked_by`: the run whose question it answers."""

    task: TaskId
    run_id: UUID
    body: NewRun
    asked_by: UUID | None = None


class Intake:
    """Reads messages."""

    def __init__(self, runs: TaskRuns, schemas: Schemas) -> None:
        self._runs = runs
        self._schemas = schemas

    async def read(self, asking: Asking, scope: Scope, assistant: Assistant, message: Message) -> Wanted:
        """A new task, or the next run of one that asks something.

        Raises:
            InvalidParamsError: the assistant cannot take such a message, or the context is no thread's id.
            TaskNotFoundError: the message names a task that the assistant does not have in this context.
            UnsupportedOperationError: the task asks nothing.
        """
        asked_by = None
        if message.task_id:
            task, run = await self.find(scope, assistant, message.task_id, message.context_id)
            run_id, body = new_id(), NewRun(assistant_id="", command=_answer(message, task, run))
            body.multitask_strategy, asked_by = MultitaskStrategy.REJECT, run.run_id
        else:
            run_id = new_id()
            task = TaskId(_context(message), run_id)
            body = NewRun(assistant_id="", input=await self._input(asking, assistant, message))
        body.assistant_id = str(assistant.assistant_id)
        body.if_not_exists = "create"
        body.metadata = {"a2a": {"task": str(task.run_id), "message": message.message_id}}
        return Wanted(task, run_id, body, asked_by)

    async def find(
        self, scope: Scope, assistant: Assistant, text: str, context: str = ""
    ) -> tuple[TaskId, Run]:
        """A task within a scope, and its newest run. Raises TaskNotFoundError."""
        task = TaskId.parse(text)
        if task is not None and context in ("", str(task.thread_id)):
            with postgres_errors("reading a task"):
                run = await self._runs.newest(scope, task.thread_id, task.run_id, assistant.assistant_id)
            if run is not None:
                return task, run
        where = f" in context {context[:64]!r}" if context else ""
        raise TaskNotFoundError(f"Task not found: {text[:128]}{where}")

    async def _input(self, asking: Asking, assistant: Assistant, message: Message) -> dict[str, Any]:
        data, said = data_of(message), chat_message(message)
        if said is None:
            return data
        schema = (await self._schemas.of(asking, assistant)).input_schema
        fields = None if schema is None else cast("dict[str, Any]", schema.get("properties") or {})
        if fields is not None and MESSAGES not in fields:
            raise InvalidParamsError(
                f"Assistant '{assistant.assistant_id}' (graph '{assistant.graph_id}') does not support A2A "
                "conversational messages. Graph input schema must include a 'messages' field to accept text or file "
                f"parts. Available input fields: {list(fields)}"
            )
        before = data.get(MESSAGES)
        return {**data, MESSAGES: [*(cast("list[Any]", before) if isinstance(before, list) else ()), said]}


def _context(message: Message) -> UUID:
    if not message.context_id:
        return new_id()
    try:
        return UUID(message.context_id)
    except ValueError:
        raise InvalidParamsError(
            f"contextId: {message.context_id[:64]!r} is not a UUID. Leave it out to begin a new context."
        ) from None


def _answer(message: Message, task: TaskId, run: Run) -> Command:
    """The answer to what a task asks."""
    if state_of(run) in ENDED:
        raise UnsupportedOperationError("A terminal task cannot accept another message")
    if not (asked := questions(run)):
        raise UnsupportedOperationError(
            f"Task {task} is at work. Wait for it to ask or to end, or cancel it."
        )
    data, said = data_of(message), chat_message(message)
    answers = _by_id(data[RESUME]) if RESUME in data else data or (said or {}).get("content")
    if len(asked) > 1 and RESUME not in data:
        ids = ", ".join(str(question.get("id")) for question in asked)
        raise InvalidParamsError(
            f"Task {task} asks {len(asked)} questions. Answer each in a data part, "
            f'{{"resume": [{{"id": ..., "value": ...}}]}}, by its id: {ids}.'
        )
    return Command(resume=answers)


def _by_id(answers: Any) -> Any:
    """A list of answers with ids as langgraph takes them; anything else is one answer."""
    items = cast("list[Any]", answers) if isinstance(answers, list) else []
    by_id = [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]
    if not items or len(by_id) < len(items) or any(item.keys() != {"id", "value"} for item in by_id):
        return cast(Any, answers)
    return {item["id"]: item["value"] for item in by_id}
