"""The Model Context Protocol, over streamable HTTP: every assistant is a tool."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Router, delete, get, post
from litestar.openapi import ResponseSpec
from litestar.params import Parameter
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from treadle_api.mcp.endpoint import McpEndpoint
from treadle_api.open_answers import STAYS_OPEN
from treadle_api.openapi import JsonRpc

PATH = "/mcp"
ANSWER = ResponseSpec(
    dict[str, Any],
    description="The answer as a JSON-RPC message; as server-sent events where progress was asked for.",
    generate_examples=False,
)
ACCEPTED = ResponseSpec(None, description="A notification, or a response of the client's, has been taken.")
REFUSED = ResponseSpec(
    dict[str, Any], description="No such message: the answer is a JSON-RPC error.", generate_examples=False
)
NOTHING = ResponseSpec(None, description="Nothing.")
FORBIDDEN = ResponseSpec(
    dict[str, str], description="The web page that sends this may not.", generate_examples=False
)


@post(
    PATH,
    status_code=200,
    responses={200: ANSWER, 202: ACCEPTED, 400: REFUSED, 403: FORBIDDEN, 406: REFUSED},
    operation_class=JsonRpc,
    opt=STAYS_OPEN,
    summary="A message of the Model Context Protocol",
)
async def post_mcp(
    body: bytes, mcp: McpEndpoint, origin: Annotated[str | None, Parameter(header="origin")] = None
) -> ASGIApp:
    return mcp.answer(body, origin)


@get(
    PATH,
    status_code=405,
    responses={405: NOTHING},
    summary="There are no events but those that answer a message",
)
async def get_mcp() -> ASGIApp:
    return ASGIResponse(status_code=405, headers={"allow": "POST"})


@delete(
    PATH,
    status_code=404,
    responses={404: NOTHING},
    summary="There is no session to end: none is kept between messages",
)
async def delete_mcp() -> ASGIApp:
    return ASGIResponse(status_code=404)


router = Router("/", route_handlers=[post_mcp, get_mcp, delete_mcp], tags=["mcp"])
