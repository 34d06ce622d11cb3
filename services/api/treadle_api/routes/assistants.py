"""Assistants: graphs with a config of their own, in versions. Every graph has a default one."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router, delete, get, patch, post

from treadle.db.assistants import AssistantFilter, Assistants
from treadle.db.pool import postgres_errors
from treadle.operations.ids import new_id, read_id
from treadle.operations.missing import no_assistant
from treadle_api.bodies.assistants import (
    AssistantCount,
    AssistantPatch,
    AssistantSearch,
    LatestVersion,
    NewAssistant,
    VersionSearch,
)
from treadle_api.operations.assistant_edits import AssistantEdits
from treadle_api.paging import page, selected
from treadle_api.views.assistants import AssistantView, VersionView, assistant_view, version_view

ONE = "/assistants/{assistant_id:str}"


@post("/assistants", status_code=200, summary="Create an assistant")
async def create_assistant(data: NewAssistant, assistant_edits: AssistantEdits) -> AssistantView:
    assistant_id = new_id() if data.assistant_id is None else read_id("assistant", data.assistant_id)
    return assistant_view(await assistant_edits.create(assistant_id, data))


@get(ONE, summary="Get an assistant")
async def get_assistant(assistant_id: str, assistants: Assistants) -> AssistantView:
    wanted = read_id("assistant", assistant_id)
    with postgres_errors("reading an assistant"):
        assistant = await assistants.get(wanted)
    if assistant is None:
        raise no_assistant(wanted)
    return assistant_view(assistant)


@patch(ONE, summary="Change an assistant, which makes a new version of it")
async def patch_assistant(
    assistant_id: str, data: AssistantPatch, assistant_edits: AssistantEdits
) -> AssistantView:
    return assistant_view(await assistant_edits.patch(read_id("assistant", assistant_id), data))


@delete(ONE, summary="Remove an assistant, and its threads if that is wished; runs of it that are on stop")
async def delete_assistant(
    assistant_id: str, assistant_edits: AssistantEdits, delete_threads: bool = False
) -> None:
    await assistant_edits.delete(read_id("assistant", assistant_id), threads=delete_threads)


@post("/assistants/search", status_code=200, summary="Search assistants, newest first")
async def search_assistants(
    data: AssistantSearch, assistants: Assistants
) -> Response[list[AssistantView]] | Response[list[dict[str, Any]]]:
    with postgres_errors("searching assistants"):
        found = await assistants.search(
            _filter(data),
            data.limit + 1,
            data.offset,
            sort_by=data.sort_by or "created_at",
            sort_order=data.sort_order or "desc",
        )
    return page(
        found,
        lambda assistant: selected(assistant_view(assistant), data.select),
        limit=data.limit,
        offset=data.offset,
    )


@post("/assistants/count", status_code=200, summary="Count assistants")
async def count_assistants(data: AssistantCount, assistants: Assistants) -> int:
    with postgres_errors("counting assistants"):
        return await assistants.count(_filter(data))


def _filter(data: AssistantCount) -> AssistantFilter:
    return AssistantFilter(graph_id=data.graph_id, name=data.name, metadata=data.metadata)


@post(f"{ONE}/versions", status_code=200, summary="The versions of an assistant, newest first")
async def list_versions(assistant_id: str, data: VersionSearch, assistants: Assistants) -> list[VersionView]:
    wanted = read_id("assistant", assistant_id)
    with postgres_errors("listing the versions of an assistant"):
        found = await assistants.versions(wanted, data.metadata, data.limit, data.offset)
        if not found and await assistants.get(wanted) is None:
            raise no_assistant(wanted)
    return [version_view(version) for version in found]


@post(f"{ONE}/latest", status_code=200, summary="Make an assistant again what it was at a version")
async def set_latest_version(
    assistant_id: str, data: LatestVersion, assistant_edits: AssistantEdits
) -> AssistantView:
    return assistant_view(await assistant_edits.set_latest(read_id("assistant", assistant_id), data.version))


router = Router(
    "/",
    route_handlers=[
        create_assistant,
        get_assistant,
        patch_assistant,
        delete_assistant,
        search_assistants,
        count_assistants,
        list_versions,
        set_latest_version,
    ],
    tags=["assistants"],
)
