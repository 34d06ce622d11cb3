"""Runs without a thread: each gets one of its own, which goes with it."""

from __future__ import annotations

from litestar import Response, Router, post
from litestar.types import ASGIApp

from treadle.errors import InvalidRequest
from treadle.operations.create import Creation
from treadle.operations.ids import new_id
from treadle.wire.run_view import RunView, run_view
from treadle.wire.runs import BatchRun, NewRun
from treadle_api.access.access import Access
from treadle_api.answer import Answer
from treadle_api.open_answers import STAYS_OPEN
from treadle_api.openapi import EVENTS, VALUES
from treadle_api.operations.serving import Serving


@post("/runs", status_code=200, summary="Create a stateless run in the background")
async def create_run(data: NewRun, creation: Creation, access: Access) -> Response[RunView]:
    run = await creation.create(access, new_id(), new_id(), data, stateless=True, background=True)
    return Answer(run_view(run), headers={"content-location": f"/runs/{run.run_id}"})


@post(
    "/runs/wait",
    status_code=200,
    responses={200: VALUES},
    opt=STAYS_OPEN,
    summary="Create a stateless run and wait for its result",
)
async def wait_run(data: NewRun, serving: Serving, access: Access) -> ASGIApp:
    return await serving.wait(access, new_id(), data, stateless=True)


@post(
    "/runs/stream",
    status_code=200,
    responses={200: EVENTS},
    opt=STAYS_OPEN,
    summary="Create a stateless run and stream its events",
)
async def stream_run(data: NewRun, serving: Serving, access: Access) -> ASGIApp:
    return await serving.stream(access, new_id(), data, stateless=True)


@post("/runs/batch", status_code=200, summary="Create several runs in the background: all of them, or none")
async def create_batch(data: list[BatchRun], creation: Creation, access: Access) -> list[RunView]:
    if not data:
        raise InvalidRequest("body: a batch has at least one run.")
    return [run_view(run) for run in await creation.create_all(access, data)]


router = Router("/", route_handlers=[create_run, wait_run, stream_run, create_batch], tags=["stateless runs"])
