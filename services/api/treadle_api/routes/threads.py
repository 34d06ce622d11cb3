"""Threads: made, read, changed and removed."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, delete, get, patch, post
from litestar.openapi import ResponseSpec
from litestar.params import Parameter

from treadle.db.pool import postgres_errors
from treadle.db.threads import Threads
from treadle.errors import Conflict
from treadle_api.bodies.threads import NewThread, ThreadPatch
from treadle_api.ids import new_id, read_id
from treadle_api.missing import no_thread
from treadle_api.operations.removal import Removal
from treadle_api.views.threads import ThreadView, thread_view


@post("/threads", status_code=200, summary="Create a thread")
async def create_thread(data: NewThread, threads: Threads) -> ThreadView:
    thread_id = new_id() if data.thread_id is None else read_id("thread", data.thread_id)
    with postgres_errors("creating a thread"):
        thread = await threads.create(thread_id, data.metadata or {})
        if thread is None and data.if_exists == "do_nothing":
            thread = await threads.get(thread_id)
    if thread is None:
        raise Conflict(
            f"Thread with ID {thread_id} already exists. Choose another, or send `if_exists`: `do_nothing`."
        )
    return thread_view(thread)


@get("/threads/{thread_id:str}", summary="Get a thread")
async def get_thread(thread_id: str, threads: Threads) -> ThreadView:
    wanted = read_id("thread", thread_id)
    with postgres_errors("reading a thread"):
        thread = await threads.get(wanted)
    if thread is None:
        raise no_thread(wanted)
    return thread_view(thread)


@patch(
    "/threads/{thread_id:str}",
    responses={204: ResponseSpec(None, description="With `Prefer: return=minimal`.")},
    summary="Merge into a thread's metadata",
)
async def patch_thread(
    thread_id: str,
    data: ThreadPatch,
    threads: Threads,
    prefer: Annotated[str | None, Parameter(header="prefer")] = None,
) -> Response[ThreadView] | Response[None]:
    wanted = read_id("thread", thread_id)
    with postgres_errors("changing a thread"):
        thread = await threads.update_metadata(wanted, data.metadata or {})
    if thread is None:
        raise no_thread(wanted)
    if prefer == "return=minimal":
        return Response(None, status_code=204)
    return Response(thread_view(thread))


@delete(
    "/threads/{thread_id:str}", summary="Remove a thread with its runs and checkpoints; runs that are on stop"
)
async def delete_thread(thread_id: str, removal: Removal) -> None:
    await removal.thread(read_id("thread", thread_id))


router = Router(
    "/", route_handlers=[create_thread, get_thread, patch_thread, delete_thread], tags=["threads"]
)
