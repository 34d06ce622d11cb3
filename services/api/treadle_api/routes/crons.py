"""Crons: runs that are made on a schedule."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router, delete, get, patch, post

from treadle.db.crons import CronFilter, Crons
from treadle.db.pool import postgres_errors
from treadle.operations.ids import new_id, read_id
from treadle.operations.missing import no_cron
from treadle.wire.run_view import RunView, run_view
from treadle_api.answer import Answer
from treadle_api.bodies.crons import CronCount, CronPatch, CronSearch, NewCron, NewThreadCron
from treadle_api.operations.crons import CronEdits
from treadle_api.paging import page, selected
from treadle_api.views.crons import CronView, cron_view

ONE = "/runs/crons/{cron_id:str}"


@post("/runs/crons", status_code=200, summary="Create a cron whose runs have a thread each")
async def create_cron(data: NewCron, cron_edits: CronEdits) -> CronView:
    return cron_view(await cron_edits.create(new_id(), None, data))


@post(
    "/threads/{thread_id:str}/runs/crons",
    status_code=200,
    summary="Create a cron whose runs have one thread",
)
async def create_thread_cron(thread_id: str, data: NewThreadCron, cron_edits: CronEdits) -> CronView:
    return cron_view(await cron_edits.create(new_id(), read_id("thread", thread_id), data))


@get(ONE, summary="Get a cron")
async def get_cron(cron_id: str, crons: Crons) -> CronView:
    wanted = read_id("cron", cron_id)
    with postgres_errors("reading a cron"):
        cron = await crons.get(wanted)
    if cron is None:
        raise no_cron(wanted)
    return cron_view(cron)


@patch(ONE, summary="Change a cron")
async def patch_cron(cron_id: str, data: CronPatch, cron_edits: CronEdits) -> CronView:
    return cron_view(await cron_edits.patch(read_id("cron", cron_id), data))


@delete(ONE, summary="Remove a cron; the runs that it made go on")
async def delete_cron(cron_id: str, crons: Crons) -> None:
    wanted = read_id("cron", cron_id)
    with postgres_errors("removing a cron"):
        removed = await crons.delete(wanted)
    if not removed:
        raise no_cron(wanted)


@post(
    f"{ONE}/trigger",
    status_code=200,
    summary="Make one run of a cron now; when the next one is due stays as it is",
)
async def trigger_cron(cron_id: str, cron_edits: CronEdits) -> Response[RunView]:
    run = await cron_edits.trigger(read_id("cron", cron_id))
    location = f"/threads/{run.thread_id}/runs/{run.run_id}"
    return Answer(run_view(run), headers={"content-location": location})


@post("/runs/crons/search", status_code=200, summary="Search crons, newest first")
async def search_crons(
    data: CronSearch, crons: Crons
) -> Response[list[CronView]] | Response[list[dict[str, Any]]]:
    with postgres_errors("searching crons"):
        found = await crons.search(
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
async def count_crons(data: CronCount, crons: Crons) -> int:
    with postgres_errors("counting crons"):
        return await crons.count(_filter(data))


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
