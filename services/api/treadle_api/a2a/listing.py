"""The tasks of an assistant, page by page."""

from __future__ import annotations

from datetime import UTC
from uuid import UUID

from a2a.types.a2a_pb2 import ListTasksRequest, ListTasksResponse, TaskState
from a2a.utils.errors import InvalidParamsError
from a2a.utils.task import validate_history_length, validate_page_size

from treadle.db.pool import postgres_errors
from treadle.db.tasks import TaskQuery
from treadle.model import Assistant, Run
from treadle_api.a2a.agent import Agent
from treadle_api.a2a.ids import TaskId

PAGE = 50
STATES = {
    TaskState.TASK_STATE_SUBMITTED: "submitted",
    TaskState.TASK_STATE_WORKING: "working",
    TaskState.TASK_STATE_COMPLETED: "completed",
    TaskState.TASK_STATE_FAILED: "failed",
    TaskState.TASK_STATE_CANCELED: "canceled",
    TaskState.TASK_STATE_INPUT_REQUIRED: "input-required",
    # Tasks never stand like this.
    TaskState.TASK_STATE_REJECTED: "rejected",
    TaskState.TASK_STATE_AUTH_REQUIRED: "auth-required",
}


async def listed(agent: Agent, assistant: Assistant, params: ListTasksRequest) -> ListTasksResponse:
    """One page of tasks, those whose newest run is the newest first.

    Raises:
        InvalidParamsError: a parameter cannot be used.
    """
    validate_history_length(params)
    if params.HasField("page_size"):
        validate_page_size(params.page_size)
    size = params.page_size or PAGE
    query = _query(assistant, params)
    scope = await agent.access.allow("threads", "search", {"metadata": {}})
    with postgres_errors("listing tasks"):
        runs = await agent.runs.list(scope, query, _before(params.page_token), size + 1)
        total = await agent.runs.count(scope, query)
    tasks = [await agent.describe(_task(run), run) for run in runs[:size]]
    if not params.include_artifacts:
        for task in tasks:
            task.ClearField("artifacts")
    following = str(runs[size - 1].seq) if len(runs) > size else ""
    return ListTasksResponse(tasks=tasks, next_page_token=following, page_size=len(tasks), total_size=total)


def _query(assistant: Assistant, params: ListTasksRequest) -> TaskQuery:
    after = params.status_timestamp_after if params.HasField("status_timestamp_after") else None
    try:
        thread = UUID(params.context_id) if params.context_id else None
    except ValueError:
        raise InvalidParamsError(f"contextId: {params.context_id[:64]!r} is not a UUID.") from None
    return TaskQuery(
        assistant.assistant_id,
        thread,
        None if after is None else after.ToDatetime(UTC),
        STATES.get(params.status),
    )


def _before(token: str) -> int | None:
    if not token:
        return None
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise InvalidParamsError("pageToken: not one that this server gave. Leave it out to begin anew.")
    return int(token)


def _task(run: Run) -> TaskId:
    return TaskId(run.thread_id, UUID(run.metadata["a2a"]["task"]))
