"""The protocol's server, of the official `mcp` package. Imported late: the package takes half a second.

Both of its lines are spoken, 1.x and 2.x: langchain-mcp-adapters, with which many graphs call tools, holds
`mcp` below 2, and the newest revision of the protocol needs 2.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, TypeVar

from mcp import types as mcp_types
from mcp.server import lowlevel
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared import exceptions

from treadle.errors import TreadleError
from treadle_api.access.gate import access_of
from treadle_api.mcp.answers import Answers, Refused
from treadle_api.mcp.calls import Progress
from treadle_api.mcp.endpoint import Transports

# What differs between the lines; the types of the installed one would be wrong for the other.
types: Any = mcp_types
mcp_errors: Any = exceptions
Server: Any = lowlevel.Server
Manager: Any = StreamableHTTPSessionManager
TWO = hasattr(lowlevel.Server, "add_request_handler")

log = logging.getLogger(__name__)

NAME, VERSION = "treadle", version("treadle")
INVALID_PARAMS, INTERNAL_ERROR = -32602, -32603

T = TypeVar("T")


@asynccontextmanager
async def transports(answers: Answers, max_body_bytes: int) -> AsyncGenerator[Transports]:
    """Serve for as long as the block lasts.

    No session is kept: any process answers any request, as if each came from a client of its own.
    """
    server = _two(answers) if TWO else _one(answers)
    json, events = (
        Manager(server, json_response=plain, stateless=True, max_request_body_size=max_body_bytes)
        for plain in (True, False)
    )
    async with json.run(), events.run():
        yield Transports(json.handle_request, events.handle_request)


def _two(answers: Answers) -> Any:
    """The server of mcp 2.x."""

    async def list_tools(context: Any, params: Any) -> Any:
        cursor = None if params is None else params.cursor
        found = await _answered(answers.list_tools(access_of(context.request.scope), cursor))
        return types.ListToolsResult.model_validate(found)

    async def call_tool(context: Any, params: Any) -> Any:
        async def tell(steps: int, message: str) -> None:
            await context.session.report_progress(steps, None, message)

        wanted = (context.meta or {}).get("progress_token") is not None
        access = access_of(context.request.scope)
        call = answers.call_tool(access, params.name, params.arguments, tell if wanted else None)
        return types.CallToolResult.model_validate(await _answered(call))

    return Server(NAME, version=VERSION, on_list_tools=list_tools, on_call_tool=call_tool)


def _one(answers: Answers) -> Any:
    """The server of mcp 1.x."""
    server = Server(NAME, version=VERSION)

    async def list_tools(request: Any) -> Any:
        cursor = None if request.params is None else request.params.cursor
        access = access_of(server.request_context.request.scope)
        found = await _answered(answers.list_tools(access, cursor))
        return types.ServerResult(types.ListToolsResult.model_validate(found))

    async def call_tool(request: Any) -> Any:
        params, context = request.params, server.request_context
        access = access_of(context.request.scope)
        call = answers.call_tool(access, params.name, params.arguments, _progress_of_one(context))
        return types.ServerResult(types.CallToolResult.model_validate(await _answered(call)))

    server.request_handlers[types.ListToolsRequest] = list_tools
    server.request_handlers[types.CallToolRequest] = call_tool
    return server


def _progress_of_one(context: Any) -> Progress | None:
    token = None if context.meta is None else context.meta.progressToken
    if token is None:
        return None

    async def tell(steps: int, message: str) -> None:
        await context.session.send_progress_notification(
            token, steps, message=message, related_request_id=str(context.request_id)
        )

    return tell


async def _answered(answer: Awaitable[T]) -> T:
    """With Treadle's errors as those of the protocol; a defect of ours goes into the log, and no further."""
    try:
        return await answer
    except Refused as error:
        raise _error(INVALID_PARAMS, str(error)) from error
    except TreadleError as error:
        log.warning("mcp: %s", error)
        raise _error(INTERNAL_ERROR, str(error)) from error
    except Exception as error:
        log.exception("mcp: a message could not be answered")
        raise _error(INTERNAL_ERROR, "Internal server error; the server's log says more.") from error


def _error(code: int, message: str) -> Exception:
    if TWO:
        return mcp_errors.MCPError(code, message)
    return mcp_errors.McpError(types.ErrorData(code=code, message=message))
