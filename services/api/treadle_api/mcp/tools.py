"""Assistants as tools: names, descriptions and input schemas."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from treadle import json
from treadle.db.pool import postgres_errors
from treadle.db.tools import ToolNames
from treadle.errors import TreadleError
from treadle.model import Assistant
from treadle_api.access.access import Access
from treadle_api.operations.schemas import Schemas

log = logging.getLogger(__name__)

Schema = dict[str, Any]

# More than any model can choose from.
PAGE = 1000
# What a tool's arguments must be.
OBJECT = "object"
# The argument that carries the input of a graph whose input is no object.
INPUT = "input"
# A model that calls a tool has something to say, and not a conversation to hand over.
MESSAGES = "messages"
MESSAGES_SCHEMA = {
    "type": "string",
    "title": "Messages",
    "description": "The user message to send to the agent.",
}
ANNOTATIONS = {
    "readOnlyHint": False,
    "destructiveHint": False,
    "idempotentHint": False,
    "openWorldHint": True,
}


class Page(NamedTuple):
    """Tools as the protocol describes them; `cursor` leads to the next ones."""

    tools: list[dict[str, Any]]
    cursor: str | None


class Tools:
    """The assistants of this server, as tools."""

    def __init__(self, names: ToolNames, schemas: Schemas) -> None:
        self._names = names
        self._schemas = schemas

    async def page(self, access: Access, cursor: str | None) -> Page | None:
        """One page of tools; None when the cursor is none of ours."""
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
            return None
        offset = int(cursor or 0)
        scope = await access.allow("assistants", "search", {"metadata": {}, "limit": PAGE, "offset": offset})
        with postgres_errors("listing assistants"):
            named = await self._names.list(scope, PAGE, offset)
        tools = [await self._tool(access, name, assistant) for name, assistant in named]
        return Page(tools, str(offset + PAGE) if len(named) == PAGE else None)

    async def find(self, access: Access, name: str) -> Assistant | None:
        """The assistant that a tool's name stands for."""
        scope = await access.allow("assistants", "search", {"metadata": {}, "name": name})
        with postgres_errors("looking for an assistant"):
            return await self._names.find(scope, name)

    async def input(self, access: Access, assistant: Assistant, arguments: dict[str, Any]) -> Any:
        """What the graph gets for a call's arguments."""
        if arguments.keys() == {INPUT}:
            schema = (await self._schemas.of(access, assistant)).input_schema
            if schema is not None and schema.get("type") != OBJECT:
                return arguments[INPUT]
        return arguments

    async def _tool(self, access: Access, name: str, assistant: Assistant) -> dict[str, Any]:
        return {
            "name": name,
            "title": assistant.name,
            "description": assistant.description or f"Tool based on the {assistant.name} assistant",
            "inputSchema": await self._arguments(access, assistant),
            "annotations": ANNOTATIONS,
        }

    async def _arguments(self, access: Access, assistant: Assistant) -> Schema:
        """A graph that cannot be made now does not hide the others: a call of it says what is wrong."""
        try:
            schema = (await self._schemas.of(access, assistant)).input_schema
        except TreadleError as error:
            log.info("the tool of assistant %s cannot be described: %s", assistant.assistant_id, error)
            schema = None
        return {"type": OBJECT} if schema is None else arguments_schema(schema)


def arguments_schema(schema: Schema) -> Schema:
    """A graph's input schema as that of a tool's arguments: an object, in which messages are one text."""
    if schema.get("type") != OBJECT:
        inside, shared = _apart(schema)
        return {"type": OBJECT, "properties": {INPUT: inside}, "required": [INPUT], **shared}
    properties: dict[str, Any] = schema.get("properties") or {}
    if MESSAGES not in properties:
        return schema
    return _without_unused({**schema, "properties": {**properties, MESSAGES: MESSAGES_SCHEMA}})


def _apart(schema: Schema) -> tuple[Schema, Schema]:
    """A schema without its definitions, which stay at the root, and those."""
    inside = {name: value for name, value in schema.items() if name != "$defs"}
    return inside, {"$defs": schema["$defs"]} if "$defs" in schema else {}


def _without_unused(schema: Schema) -> Schema:
    """Without the definitions of message types, unless something else refers to definitions."""
    inside, _ = _apart(schema)
    return schema if b'"$ref"' in json.encode(inside) else inside
