"""Runs on a thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from litestar import Response, Router, delete, get, post
from litestar.openapi import ResponseSpec
from litestar.params import Parameter
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from treadle.db.pool import postgres_errors
from treadle.db.runs import Runs
from treadle.db.scope import Scope
from treadle.db.threads import Threads
from treadle.errors import InvalidRequest
from treadle.identity.caller import Permission
from treadle.model import CancelAction, RunStatus
from treadle.operations.cancel import ACTIVE, Cancellation
from treadle.operations.create import Creation
from treadle.operations.ids import new_id, read_id
from treadle.operations.missing import no_thread
from treadle.streaming import parse_last_event_id
from treadle.wire.limits import BodyLimits
from treadle.wire.run_view import RunField, RunView, run_view
from treadle.wire.runs import NewRun, RunsCancel
from treadle_api.access.access import Access
from treadle_api.answer import Answer
from treadle_api.bodies.fields import QueryOffset
from treadle_api.open_answers import STAYS_OPEN
from treadle_api.openapi import EVENTS, VALUES
from treadle_api.operations.existing import existing_run
from treadle_api.operations.removal import Removal
from treadle_api.operations.serving import Serving
from treadle_api.paging import selected

PATH = "/threads/{thread_id:str}/runs"
ONE = PATH + "/{run_id:str}"
# A run is wide: it holds its input and its context.
MOST_LISTED = 10_000


@post(PATH, status_code=200, summary="Create a run in the background")
async def create_run(thread_id: str, data: NewRun, creation: Creation, access: Access) -> Response[RunView]:
    thread = read_id("thread", thread_id)
    run = await creation.create(access, new_id(), thread, data, stateless=False, background=True)
    return Answer(run_view(run), headers={"content-location": f"/threads/{thread}/runs/{run.run_id}"})


@post(
    f"{PATH}/wait",
    status_code=200,
    responses={200: VALUES},
    opt=STAYS_OPEN,
    summary="Create a run and wait for its result",
)
async def wait_run(thread_id: str, data: NewRun, serving: Serving, access: Access) -> ASGIApp:
    return await serving.wait(access, read_id("thread", thread_id), data, stateless=False)


@post(
    f"{PATH}/stream",
    status_code=200,
    responses={200: EVENTS},
    opt=STAYS_OPEN,
    summary="Create a run and stream its events",
)
async def stream_run(thread_id: str, data: NewRun, serving: Serving, access: Access) -> ASGIApp:
    return await serving.stream(access, read_id("thread", thread_id), data, stateless=False)


@get(PATH, summary="The runs of a thread, newest first")
async def list_runs(
    thread_id: str,
    runs: Runs,
    threads: Threads,
    access: Access,
    limits: BodyLimits,
    limit: Annotated[int, Parameter(ge=0, le=MOST_LISTED)] = 10,
    offset: QueryOffset = 0,
    status: RunStatus | None = None,
    select: Annotated[list[RunField] | None, Parameter(query="select")] = None,
) -> Response[list[RunView]] | Response[list[dict[str, Any]]]:
    limits.check_page(limit)
    thread = read_id("thread", thread_id)
    scope = await access.allow("threads", "search", {"thread_id": thread, "metadata": {}})
    with postgres_errors("listing runs"):
        found = await runs.of_thread(scope, thread, status=status, limit=limit, offset=offset)
        if not found and await threads.get(scope, thread) is None:
            raise no_thread(thread)
    return Answer([selected(run_view(run), select) for run in found])


@get(ONE, summary="Get a run")
async def get_run(thread_id: str, run_id: str, runs: Runs, access: Access) -> RunView:
    thread, run = _ids(thread_id, run_id)
    return run_view(await existing_run(runs, await _readable(access, thread, run), thread, run))


@delete(ONE, summary="Remove a run and its checkpoints; one that is on is stopped first")
async def delete_run(thread_id: str, run_id: str, removal: Removal, access: Access) -> None:
    thread, run = _ids(thread_id, run_id)
    scope = await access.allow("threads", "delete", {"thread_id": thread, "run_id": run})
    await removal.run(scope, thread, run)


@get(f"{ONE}/join", responses={200: VALUES}, opt=STAYS_OPEN, summary="Wait for a run's result")
async def join_run(
    thread_id: str, run_id: str, serving: Serving, access: Access, cancel_on_disconnect: bool = False
) -> ASGIApp:
    thread, run = _ids(thread_id, run_id)
    scope = await _joinable(access, thread, run, cancels=cancel_on_disconnect)
    return await serving.join(scope, thread, run, cancel_on_disconnect=cancel_on_disconnect)


@get(
    f"{ONE}/stream",
    responses={200: EVENTS},
    opt=STAYS_OPEN,
    summary="Join a run's stream, or come back to it",
)
async def join_stream(
    thread_id: str,
    run_id: str,
    serving: Serving,
    access: Access,
    cancel_on_disconnect: bool = False,
    stream_mode: Annotated[list[str] | None, Parameter(query="stream_mode")] = None,
    last_event_id: Annotated[str | None, Parameter(header="last-event-id")] = None,
) -> ASGIApp:
    thread, run = _ids(thread_id, run_id)
    return await serving.join_stream(
        await _joinable(access, thread, run, cancels=cancel_on_disconnect),
        thread,
        run,
        parse_last_event_id(last_event_id),
        modes=_modes(stream_mode or ()),
        cancel_on_disconnect=cancel_on_disconnect,
    )


def _modes(given: Sequence[str]) -> list[str]:
    """Repeated, or with commas in between: clients do both."""
    return [mode for item in given for mode in item.split(",") if mode]


@post(
    f"{ONE}/cancel",
    status_code=202,
    responses={200: ResponseSpec(dict[str, Any], description="With `wait`: the run has ended.")},
    opt=STAYS_OPEN,
    summary="Cancel a run: interrupt keeps its checkpoints, rollback removes them and it",
)
async def cancel_run(
    thread_id: str,
    run_id: str,
    cancellation: Cancellation,
    serving: Serving,
    access: Access,
    wait: bool = False,
    action: str = CancelAction.INTERRUPT.value,
) -> ASGIApp:
    (thread, run), wanted = _ids(thread_id, run_id), _action(action)
    await cancellation.cancel(await _cancellable(access, thread, run, wanted), thread, run, wanted)
    if wait:
        return await serving.cancelled(thread, run)
    return ASGIResponse(status_code=202)


@post(
    "/runs/cancel",
    status_code=204,
    summary="Cancel several runs: some of a thread, or all that are pending, running, or either",
)
async def cancel_runs(
    data: RunsCancel,
    cancellation: Cancellation,
    access: Access,
    action: str = CancelAction.INTERRUPT.value,
) -> None:
    wanted = _action(action)
    if data.status is not None:
        if data.thread_id is not None or data.run_ids is not None:
            raise InvalidRequest(
                "status: it is about the runs of all threads; leave out `thread_id` and `run_ids`."
            )
        statuses = ACTIVE if data.status == "all" else [RunStatus(data.status)]
        await cancellation.cancel_all(
            await access.allow("threads", "update", {"action": wanted.value}, needs=Permission.RUN),
            statuses,
            wanted,
        )
    elif data.thread_id is not None and data.run_ids is not None:
        thread = read_id("thread", data.thread_id)
        run_ids = [read_id("run", run_id) for run_id in data.run_ids]
        value: dict[str, Any] = {"thread_id": thread, "metadata": {}, "action": wanted.value}
        await cancellation.cancel_some(
            await access.allow("threads", "update", value, needs=Permission.RUN), thread, run_ids, wanted
        )
    else:
        raise InvalidRequest("body: send `status`, or `thread_id` with `run_ids`.")


def _ids(thread_id: str, run_id: str) -> tuple[UUID, UUID]:
    return read_id("thread", thread_id), read_id("run", run_id)


async def _readable(access: Access, thread: UUID, run: UUID) -> Scope:
    return await access.allow("threads", "read", {"thread_id": thread, "run_id": run})


async def _cancellable(access: Access, thread: UUID, run: UUID, action: CancelAction) -> Scope:
    value: dict[str, Any] = {"thread_id": thread, "run_id": run, "metadata": {}, "action": action.value}
    return await access.allow("threads", "update", value, needs=Permission.RUN)


async def _joinable(access: Access, thread: UUID, run: UUID, *, cancels: bool) -> Scope:
    """Whoever wishes a run to end with the connection must be one who may cancel it."""
    if cancels:
        await _cancellable(access, thread, run, CancelAction.INTERRUPT)
    return await _readable(access, thread, run)


def _action(text: str) -> CancelAction:
    try:
        return CancelAction(text)
    except ValueError:
        raise InvalidRequest(
            f"action: {text[:64]!r} is not one of: {', '.join(action.value for action in CancelAction)}"
        ) from None


router = Router(
    "/",
    route_handlers=[
        create_run,
        wait_run,
        stream_run,
        list_runs,
        get_run,
        delete_run,
        join_run,
        join_stream,
        cancel_run,
        cancel_runs,
    ],
    tags=["runs"],
)
