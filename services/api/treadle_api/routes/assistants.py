"""Assistants: graphs with a config of their own, in versions. Every graph has a default one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from litestar import Response, Router, delete, get, patch, post
from msgspec import to_builtins

from treadle.db.assistants import AssistantFilter, Assistants
from treadle.db.pool import postgres_errors
from treadle.db.scope import Scope
from treadle.operations.ids import new_id, read_id
from treadle.operations.missing import no_assistant
from treadle_api.access.access import Access
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
async def create_assistant(
    data: NewAssistant, assistant_edits: AssistantEdits, access: Access
) -> AssistantView:
    assistant_id = new_id() if data.assistant_id is None else read_id("assistant", data.assistant_id)
    value: dict[str, Any] = {**_value(assistant_id, data), "if_exists": data.if_exists or "raise"}
    scope = await access.allow("assistants", "create", value)
    data.metadata = value["metadata"]
    return assistant_view(await assistant_edits.create(access, scope, assistant_id, data))


def _value(assistant_id: UUID, data: NewAssistant | AssistantPatch) -> dict[str, Any]:
    """An assistant as handlers of `langgraph_sdk.Auth` know it."""
    return {
        "assistant_id": assistant_id,
        "graph_id": data.graph_id,
        "config": {} if data.config is None else to_builtins(data.config),
        "context": data.context,
        "metadata": data.metadata or {},
        "name": data.name,
    }


@get(ONE, summary="Get an assistant")
async def get_assistant(assistant_id: str, assistants: Assistants, access: Access) -> AssistantView:
    wanted = read_id("assistant", assistant_id)
    scope = await access.allow("assistants", "read", {"assistant_id": wanted})
    with postgres_errors("reading an assistant"):
        assistant = await assistants.get(scope, wanted)
    if assistant is None:
        raise no_assistant(wanted)
    return assistant_view(assistant)


@patch(ONE, summary="Change an assistant, which makes a new version of it")
async def patch_assistant(
    assistant_id: str, data: AssistantPatch, assistant_edits: AssistantEdits, access: Access
) -> AssistantView:
    wanted = read_id("assistant", assistant_id)
    value = _value(wanted, data)
    scope = await access.allow("assistants", "update", value)
    data.metadata = value["metadata"] or None
    return assistant_view(await assistant_edits.patch(access, scope, wanted, data))


@delete(ONE, summary="Remove an assistant, and its threads if that is wished; runs of it that are on stop")
async def delete_assistant(
    assistant_id: str, assistant_edits: AssistantEdits, access: Access, delete_threads: bool = False
) -> None:
    wanted = read_id("assistant", assistant_id)
    scope = threads = await access.allow("assistants", "delete", {"assistant_id": wanted})
    if delete_threads:
        threads = await access.allow("threads", "delete", {"assistant_id": wanted})
    await assistant_edits.delete(scope, threads, wanted, threads=delete_threads)


@post("/assistants/search", status_code=200, summary="Search assistants, newest first")
async def search_assistants(
    data: AssistantSearch, assistants: Assistants, access: Access
) -> Response[list[AssistantView]] | Response[list[dict[str, Any]]]:
    scope = await _searchable(access, data, {"limit": data.limit, "offset": data.offset})
    with postgres_errors("searching assistants"):
        found = await assistants.search(
            scope,
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
async def count_assistants(data: AssistantCount, assistants: Assistants, access: Access) -> int:
    scope = await _searchable(access, data, {})
    with postgres_errors("counting assistants"):
        return await assistants.count(scope, _filter(data))


async def _searchable(access: Access, data: AssistantCount, part: dict[str, Any]) -> Scope:
    value: dict[str, Any] = {"graph_id": data.graph_id, "metadata": data.metadata or {}, **part}
    scope = await access.allow("assistants", "search", value)
    data.metadata = value["metadata"]
    return scope


def _filter(data: AssistantCount) -> AssistantFilter:
    return AssistantFilter(graph_id=data.graph_id, name=data.name, metadata=data.metadata)


@post(f"{ONE}/versions", status_code=200, summary="The versions of an assistant, newest first")
async def list_versions(
    assistant_id: str, data: VersionSearch, assistants: Assistants, access: Access
) -> list[VersionView]:
    wanted = read_id("assistant", assistant_id)
    scope = await access.allow(
        "assistants", "read", {"assistant_id": wanted, "metadata": data.metadata or {}}
    )
    with postgres_errors("listing the versions of an assistant"):
        found = await assistants.versions(scope, wanted, data.metadata, data.limit, data.offset)
        if not found and await assistants.get(scope, wanted) is None:
            raise no_assistant(wanted)
    return [version_view(version) for version in found]


@post(f"{ONE}/latest", status_code=200, summary="Make an assistant again what it was at a version")
async def set_latest_version(
    assistant_id: str, data: LatestVersion, assistant_edits: AssistantEdits, access: Access
) -> AssistantView:
    wanted = read_id("assistant", assistant_id)
    value: dict[str, Any] = {"assistant_id": wanted, "version": data.version, "metadata": {}}
    scope = await access.allow("assistants", "update", value)
    return assistant_view(await assistant_edits.set_latest(scope, wanted, data.version))


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
