"""The Agent-to-Agent protocol, over JSON-RPC: every assistant is an agent."""

from __future__ import annotations

from typing import Any

from litestar import Request, Router, get, post
from litestar.openapi import ResponseSpec
from litestar.types import ASGIApp

from treadle_api.a2a.endpoint import A2aEndpoint
from treadle_api.access.access import Access
from treadle_api.open_answers import STAYS_OPEN
from treadle_api.openapi import JsonRpc

PATH = "/a2a/{assistant_id:str}"
WELL_KNOWN = "/.well-known/agent-card.json"
ANSWER = ResponseSpec(
    dict[str, Any],
    description="The answer as a JSON-RPC message; as server-sent events where a stream was asked for.",
    generate_examples=False,
)

AnyRequest = Request[Any, Any, Any]


@post(
    PATH,
    status_code=200,
    responses={200: ANSWER},
    operation_class=JsonRpc,
    opt=STAYS_OPEN,
    summary="A message of the Agent-to-Agent protocol",
)
async def post_a2a(
    assistant_id: str, body: bytes, request: AnyRequest, a2a: A2aEndpoint, access: Access
) -> ASGIApp:
    return await a2a.answer(access, assistant_id, str(request.base_url), body)


@get([PATH, f"{PATH}{WELL_KNOWN}"], summary="The card of an agent")
async def get_card(
    assistant_id: str, request: AnyRequest, a2a: A2aEndpoint, access: Access
) -> dict[str, Any]:
    return await a2a.card(access, assistant_id, str(request.base_url))


@get(WELL_KNOWN, summary="The card of the agent that the query names")
async def get_well_known_card(
    assistant_id: str, request: AnyRequest, a2a: A2aEndpoint, access: Access
) -> dict[str, Any]:
    return await a2a.card(access, assistant_id, str(request.base_url))


router = Router("/", route_handlers=[post_a2a, get_card, get_well_known_card], tags=["a2a"])
