"""What assistants take and give."""

from __future__ import annotations

import re

from litestar import Router, get

from treadle.errors import InvalidRequest
from treadle.model import Assistant
from treadle.operations.assistants import AssistantChoice
from treadle.operations.ids import read_id
from treadle_api.access.access import Access
from treadle_api.operations.schemas import Schemas
from treadle_api.views.schemas import AssistantSchemas, GraphDrawing, GraphSchemas

DEPTH = re.compile(r"[1-9][0-9]{0,5}\Z")
ONE = "/assistants/{assistant_id:str}"


@get(f"{ONE}/schemas", summary="The JSON schemas of an assistant's input, output, state, config and context")
async def get_schemas(
    assistant_id: str, assistant_choice: AssistantChoice, schemas: Schemas, access: Access
) -> AssistantSchemas:
    return await schemas.of(access, await _read(assistant_choice, access, _id(assistant_id)))


@get(f"{ONE}/graph", summary="The nodes and edges of an assistant's graph")
async def get_graph(
    assistant_id: str, assistant_choice: AssistantChoice, schemas: Schemas, access: Access, xray: str = ""
) -> GraphDrawing:
    return await schemas.drawing(access, await _read(assistant_choice, access, assistant_id), _xray(xray))


@get(
    [f"{ONE}/subgraphs", ONE + "/subgraphs/{namespace:str}"],
    summary="The schemas of an assistant's subgraphs",
)
async def get_subgraphs(
    assistant_id: str,
    assistant_choice: AssistantChoice,
    schemas: Schemas,
    access: Access,
    namespace: str | None = None,
    recurse: bool = False,
) -> dict[str, GraphSchemas]:
    return await schemas.subgraphs(
        access, await _read(assistant_choice, access, _id(assistant_id)), namespace, recurse=recurse
    )


async def _read(choice: AssistantChoice, access: Access, name: str) -> Assistant:
    scope = await access.allow("assistants", "read", {"assistant_id": choice.id_of(name)})
    return await choice.read(scope, name)


def _id(text: str) -> str:
    """A graph id stands for its default assistant only where a graph is asked for."""
    return str(read_id("assistant", text))


def _xray(text: str) -> bool | int:
    """Whether to draw subgraphs too, or down to which depth."""
    if text.lower() in ("", "false"):
        return False
    if text.lower() == "true":
        return True
    if DEPTH.match(text):
        return int(text)
    raise InvalidRequest(f"xray: {text[:64]!r} cannot be used. Send true, false, or a depth of at least 1.")


router = Router("/", route_handlers=[get_schemas, get_graph, get_subgraphs], tags=["assistants"])
