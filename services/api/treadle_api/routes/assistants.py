"""Assistants: every graph has its default one."""

from __future__ import annotations

from litestar import Response, Router, get, post

from treadle.db.assistants import Assistants
from treadle.db.pool import postgres_errors
from treadle.errors import NotFound
from treadle_api.bodies.assistants import AssistantSearch
from treadle_api.ids import read_id
from treadle_api.paging import page
from treadle_api.views.assistants import AssistantView, assistant_view


@get("/assistants/{assistant_id:str}", summary="Get an assistant")
async def get_assistant(assistant_id: str, assistants: Assistants) -> AssistantView:
    wanted = read_id("assistant", assistant_id)
    with postgres_errors("reading an assistant"):
        assistant = await assistants.get(wanted)
    if assistant is None:
        raise NotFound(f"Assistant with ID {assistant_id} not found")
    return assistant_view(assistant)


@post("/assistants/search", status_code=200, summary="Search assistants, newest first")
async def search_assistants(data: AssistantSearch, assistants: Assistants) -> Response[list[AssistantView]]:
    with postgres_errors("searching assistants"):
        found = await assistants.search(data.graph_id, data.limit + 1, data.offset)
    return page(found, assistant_view, limit=data.limit, offset=data.offset)


router = Router("/", route_handlers=[get_assistant, search_assistants], tags=["assistants"])
