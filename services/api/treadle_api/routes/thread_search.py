"""Finding threads."""

from __future__ import annotations

from typing import Any, cast

from litestar import Response, Router, post

from treadle.db.pool import postgres_errors
from treadle.db.thread_search import COLUMNS, Column, ThreadFilter, ThreadPage, ThreadSearch
from treadle.operations.ids import read_id
from treadle_api.access.access import Access
from treadle_api.bodies.threads import ThreadCount, ThreadSearchBody
from treadle_api.extract import read_paths
from treadle_api.paging import page
from treadle_api.views.threads import FoundThread, found_thread


@post("/threads/search", status_code=200, summary="Search threads, the last changed first")
async def search_threads(
    data: ThreadSearchBody, thread_search: ThreadSearch, access: Access
) -> Response[list[FoundThread]]:
    wanted = await _filter(data, access, {"limit": data.limit, "offset": data.offset})
    part = _page(data)
    with postgres_errors("searching threads"):
        found = await thread_search.page(wanted, part)
    return page(found, found_thread, limit=data.limit, offset=data.offset)


@post("/threads/count", status_code=200, summary="Count threads")
async def count_threads(data: ThreadCount, thread_search: ThreadSearch, access: Access) -> int:
    wanted = await _filter(data, access, {})
    with postgres_errors("counting threads"):
        return await thread_search.count(wanted)


async def _filter(data: ThreadCount, access: Access, part: dict[str, Any]) -> ThreadFilter:
    ids = [read_id("thread", thread_id) for thread_id in data.ids or ()]
    value: dict[str, Any] = {
        "metadata": data.metadata or {},
        "values": data.values or {},
        "status": data.status,
        "ids": ids or None,
        **part,
    }
    scope = await access.allow("threads", "search", value)
    return ThreadFilter(
        scope=scope,
        ids=value["ids"],
        status=value["status"],
        metadata=value["metadata"],
        values=value["values"],
    )


def _page(data: ThreadSearchBody) -> ThreadPage:
    """One more than wanted tells whether there is a next page."""
    return ThreadPage(
        limit=data.limit + 1,
        offset=data.offset,
        sort_by=data.sort_by or "updated_at",
        descending=data.sort_order != "asc",
        columns=_columns(data),
        extract=read_paths(data.extract or {}),
    )


def _columns(data: ThreadSearchBody) -> tuple[Column, ...]:
    selected = set(data.select or COLUMNS)
    return tuple(column for column in COLUMNS if column in cast("set[str]", selected))


router = Router("/", route_handlers=[search_threads, count_threads], tags=["threads"])
