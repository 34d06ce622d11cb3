"""Crons: runs that are made on a schedule."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from litestar import Response, Router, delete, get, patch, post
from msgspec import to_builtins

from treadle.db.crons import CronFilter, Crons
from treadle.db.pool import postgres_errors
from treadle.db.scope import Scope
from treadle.operations.ids import new_id, read_id
from treadle.operations.missing import no_cron
from treadle.wire.run_view import RunView, run_view
from treadle_api.access.access import Access
from treadle_api.answer import Answer
from treadle_api.bodies.crons import CronCount, CronPatch, CronSearch, NewCron, NewThreadCron
from treadle_api.operations.crons import CronEdits
from treadle_api.paging import page, selected
from treadle_api.views.crons import CronView, cron_view

ONE = "/runs/crons/{cron_id:str}"


@post("/runs/crons", status_code=200, summary="Create a cron whose runs have a thread each")
async def create_cron(data: NewCron, cron_edits: CronEdits, access: Access) -> CronView:
    return await _created(None, data, cron_edits, access)


@post(
    "/threads/{thread_id:str}/runs/crons",
    status_code=200,
    summary="Create a cron whose runs have one thread",
)
async def create_thread_cron(
    thread_id: str, data: NewThreadCron, cron_edits: CronEdits, access: Access
) -> CronView:
    return await _created(read_id("thread", thread_id), data, cron_edits, access)


async def _created(
    thread_id: UUID | None, data: NewThreadCron, cron_edits: CronEdits, access: Access
) -> CronView:
    cron_id = new_id()
    value: dict[str, Any] = {
        "payload": to_builtins(data),
        "schedule": data.schedule,
        "cron_id": cron_id,
        "thread_id": thread_id,
        "user_id": access.caller.identity or None,
        "end_time": data.end_time,
        "metadata": data.metadata or {},
    }
    threads = await access.allow("crons", "create", value)
    data.metadata = value["metadata"] or None
    if thread_id is not None:
        threads = await access.allow("threads", "create_run", {"thread_id": thread_id, "metadata": {}})
    return cron_view(await cron_edits.create(access, threads, cron_id, thread_id, data))


@get(ONE, summary="Get a cron")
async def get_cron(cron_id: str, crons: Crons, access: Access) -> CronView:
    wanted = read_id("cron", cron_id)
    scope = await access.allow("crons", "read", {"cron_id": wanted})
    with postgres_errors("reading a cron"):
        cron = await crons.get(scope, wanted)
    if cron is None:
        raise no_cron(wanted)
    return cron_view(cron)


@patch(ONE, summary="Change a cron")
async def patch_cron(cron_id: str, data: CronPatch, cron_edits: CronEdits, access: Access) -> CronView:
    wanted = read_id("cron", cron_id)
    value: dict[str, Any] = {"cron_id": wanted, "payload": to_builtins(data), "schedule": data.schedule}
    scope = await access.allow("crons", "update", value)
    return cron_view(await cron_edits.patch(access, scope, wanted, data))


@delete(ONE, summary="Remove a cron; the runs that it made go on")
async def delete_cron(cron_id: str, crons: Crons, access: Access) -> None:
    wanted = read_id("cron", cron_id)
    scope = await access.allow("crons", "delete", {"cron_id": wanted})
    with postgres_errors("removing a cron"):
        removed = await crons.delete(scope, wanted)
    if not removed:
        raise no_cron(wanted)


@post(
    f"{ONE}/trigger",
    status_code=200,
    summary="Make one run of a cron now; when the next one is due stays as it is",
)
async def trigger_cron(cron_id: str, cron_edits: CronEdits, access: Access) -> Response[RunView]:
    wanted = read_id("cron", cron_id)
    scope = await access.allow("crons", "read", {"cron_id": wanted})
    run = await cron_edits.trigger(access, scope, wanted)
    location = f"/threads/{run.thread_id}/runs/{run.run_id}"
    return Answer(run_view(run), headers={"content-location": location})


@post("/runs/crons/search", status_code=200, summary="Search crons, newest first")
async def search_crons(
    data: CronSearch, crons: Crons, access: Access
) -> Response[list[CronView]] | Response[list[dict[str, Any]]]:
    scope = await _searchable(access, data, {"limit": data.limit, "offset": data.offset})
    with postgres_errors("searching crons"):
        found = await crons.search(
            scope,
            _filter(data, enabled=data.enabled),
            data.limit + 1,
            data.offset,
            sort_by=data.sort_by or "created_at",
            sort_order=data.sort_order or "desc",
        )
    return page(
        found, lambda cron: selected(cron_view(cron), data.select), limit=data.limit, offset=data.offset
    )


@post("/runs/crons/count", status_code=200, summary="Count crons")
async def count_crons(data: CronCount, crons: Crons, access: Access) -> int:
    scope = await _searchable(access, data, {})
    with postgres_errors("counting crons"):
        return await crons.count(scope, _filter(data))


async def _searchable(access: Access, data: CronCount, part: dict[str, Any]) -> Scope:
    value: dict[str, Any] = {
        "assistant_id": data.assistant_id,
        "thread_id": data.thread_id,
        "metadata": data.metadata or {},
        **part,
    }
    scope = await access.allow("crons", "search", value)
    data.metadata = value["metadata"]
    return scope


def _filter(data: CronCount, enabled: bool | None = None) -> CronFilter:
    return CronFilter(
        assistant_id=None if data.assistant_id is None else read_id("assistant", data.assistant_id),
        thread_id=None if data.thread_id is None else read_id("thread", data.thread_id),
        metadata=data.metadata,
        enabled=enabled,
    )


router = Router(
    "/",
    route_handlers=[
        create_cron,
        create_thread_cron,
        get_cron,
        patch_cron,
        delete_cron,
        trigger_cron,
        search_crons,
        count_crons,
    ],
    tags=["crons"],
)
