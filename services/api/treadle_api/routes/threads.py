"""Threads: made, read, changed, copied and removed."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, Router, delete, get, patch, post
from litestar.openapi import ResponseSpec
from litestar.params import Parameter

from treadle.db.checkpoints import Checkpoints
from treadle.db.pool import postgres_errors
from treadle.db.threads import Threads
from treadle.errors import InvalidRequest
from treadle.operations.ids import new_id, read_id
from treadle.operations.missing import no_thread
from treadle_api.access.access import Access
from treadle_api.answer import Answer
from treadle_api.bodies.threads import NewThread, ThreadPatch, ThreadPrune
from treadle_api.lifetime import read_ttl
from treadle_api.operations.removal import Removal
from treadle_api.operations.thread_creation import ThreadCreation
from treadle_api.views.storage import StorageView, storage_view
from treadle_api.views.threads import Pruned, ThreadView, thread_view


@post("/threads", status_code=200, summary="Create a thread")
async def create_thread(data: NewThread, thread_creation: ThreadCreation, access: Access) -> ThreadView:
    thread_id = new_id() if data.thread_id is None else read_id("thread", data.thread_id)
    value: dict[str, Any] = {
        "thread_id": thread_id,
        "metadata": data.metadata or {},
        "if_exists": data.if_exists or "raise",
    }
    scope = await access.allow("threads", "create", value)
    data.metadata = value["metadata"]
    return thread_view(await thread_creation.create(access, scope, thread_id, data))


@get("/threads/{thread_id:str}", summary="Get a thread")
async def get_thread(
    thread_id: str, threads: Threads, access: Access, include: str | None = None
) -> ThreadView:
    wanted, with_ttl = read_id("thread", thread_id), _includes_ttl(include)
    scope = await access.allow("threads", "read", {"thread_id": wanted})
    with postgres_errors("reading a thread"):
        thread = await threads.get(scope, wanted)
    if thread is None:
        raise no_thread(wanted)
    return thread_view(thread, with_ttl=with_ttl)


def _includes_ttl(include: str | None) -> bool:
    """Names with commas in between, of which there is one."""
    wanted = [name.strip() for name in (include or "").split(",") if name.strip()]
    if unknown := [name for name in wanted if name != "ttl"]:
        raise InvalidRequest(f"include: {unknown[0][:64]!r} is not one of: ttl")
    return bool(wanted)


@patch(
    "/threads/{thread_id:str}",
    responses={204: ResponseSpec(None, description="With `Prefer: return=minimal`.")},
    summary="Merge into a thread's metadata, or set how long it lives",
)
async def patch_thread(
    thread_id: str,
    data: ThreadPatch,
    threads: Threads,
    access: Access,
    prefer: Annotated[str | None, Parameter(header="prefer")] = None,
) -> Response[ThreadView] | Response[None]:
    wanted = read_id("thread", thread_id)
    value: dict[str, Any] = {"thread_id": wanted, "metadata": data.metadata or {}}
    scope = await access.allow("threads", "update", value)
    with postgres_errors("changing a thread"):
        thread = await threads.update(scope, wanted, value["metadata"], read_ttl(data.ttl))
    if thread is None:
        raise no_thread(wanted)
    if prefer == "return=minimal":
        return Response(None, status_code=204)
    return Answer(thread_view(thread))


@delete(
    "/threads/{thread_id:str}", summary="Remove a thread with its runs and checkpoints; runs that are on stop"
)
async def delete_thread(thread_id: str, removal: Removal, access: Access) -> None:
    wanted = read_id("thread", thread_id)
    await removal.thread(await access.allow("threads", "delete", {"thread_id": wanted}), wanted)


@post("/threads/{thread_id:str}/copy", status_code=200, summary="Copy a thread with its checkpoints")
async def copy_thread(thread_id: str, thread_creation: ThreadCreation, access: Access) -> ThreadView:
    wanted = read_id("thread", thread_id)
    await access.allow("threads", "create", {"thread_id": wanted, "metadata": {}, "if_exists": "raise"})
    scope = await access.allow("threads", "read", {"thread_id": wanted})
    return thread_view(await thread_creation.copy(scope, wanted))


@post("/threads/prune", status_code=200, summary="Remove threads, or all of their checkpoints but the newest")
async def prune_threads(data: ThreadPrune, removal: Removal, access: Access) -> Pruned:
    wanted = [read_id("thread", thread_id) for thread_id in data.thread_ids]
    remove = removal.prune if data.strategy == "keep_latest" else removal.threads
    scope = await access.allow("threads", "delete", {"thread_ids": wanted, "strategy": data.strategy})
    return Pruned(await remove(scope, wanted))


@get("/threads/{thread_id:str}/storage", summary="What a thread's checkpoints take")
async def get_storage(thread_id: str, checkpoints: Checkpoints, access: Access) -> StorageView:
    wanted = read_id("thread", thread_id)
    scope = await access.allow("threads", "read", {"thread_id": wanted})
    with postgres_errors("measuring a thread"):
        storage = await checkpoints.storage(scope, wanted)
    if storage is None:
        raise no_thread(wanted)
    return storage_view(wanted, storage)


router = Router(
    "/",
    route_handlers=[
        create_thread,
        get_thread,
        patch_thread,
        delete_thread,
        copy_thread,
        prune_threads,
        get_storage,
    ],
    tags=["threads"],
)
