"""The protocol's server, of the official `a2a-sdk`. Imported late: the package takes a third of a second."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any, cast

from a2a.compat.v0_3 import types as types_03
from a2a.compat.v0_3.request_handler import RequestHandler03
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.server.routes.common import DefaultServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.utils.constants import PROTOCOL_VERSION_0_3, PROTOCOL_VERSION_1_0, VERSION_HEADER
from litestar.types import Receive, Scope, Send
from starlette.requests import Request

from treadle.model import Assistant
from treadle_api.a2a.agent import Agent
from treadle_api.a2a.card import card_of
from treadle_api.a2a.endpoint import Sources
from treadle_api.a2a.handler import AssistantHandler
from treadle_api.access.access import Access


class A2aServer:
    """Answers for every assistant, in both versions of the protocol."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def card(self, assistant: Assistant, url: str) -> dict[str, Any]:
        """An assistant's card as JSON, with what clients of 0.3 look for beside what 1.0 has."""
        return agent_card_to_dict(card_of(assistant, url))

    async def answer(
        self,
        access: Access,
        assistant: Assistant,
        url: str,
        method: str,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer one POST that calls a method."""
        handler = AssistantHandler(Agent(access, self._sources), assistant, card_of(assistant, url))
        dispatcher = _Dispatcher(handler, _Versions(method))
        response = await dispatcher.handle_requests(Request(cast(Any, scope), cast(Any, receive)))
        await response(cast(Any, scope), cast(Any, receive), cast(Any, send))


class _Versions(DefaultServerCallContextBuilder):
    """Takes the version that the method belongs to where a client names none."""

    def __init__(self, method: str) -> None:
        self._version = PROTOCOL_VERSION_0_3 if "/" in method else PROTOCOL_VERSION_1_0

    def build(self, request: Request) -> ServerCallContext:
        context = super().build(request)
        context.state["headers"].setdefault(VERSION_HEADER.lower(), self._version)
        return context


class _Dispatcher(JsonRpcDispatcher):
    def __init__(self, handler: AssistantHandler, versions: _Versions) -> None:
        super().__init__(handler, context_builder=versions, enable_v0_3_compat=True)
        if self._v03_adapter is not None:
            self._v03_adapter.handler = _Handler03(handler)


class _Handler03(RequestHandler03):
    """Says `final` of a status that ends a stream, also where the task is not over but asks."""

    async def on_message_send_stream(
        self, request: types_03.SendMessageRequest, context: ServerCallContext
    ) -> AsyncIterable[types_03.SendStreamingMessageSuccessResponse]:
        async for response in super().on_message_send_stream(request, context):
            yield _final(response)

    async def on_subscribe_to_task(
        self, request: types_03.TaskResubscriptionRequest, context: ServerCallContext
    ) -> AsyncIterable[types_03.SendStreamingMessageSuccessResponse]:
        async for response in super().on_subscribe_to_task(request, context):
            yield _final(response)


def _final(
    response: types_03.SendStreamingMessageSuccessResponse,
) -> types_03.SendStreamingMessageSuccessResponse:
    event = response.result
    if isinstance(event, types_03.TaskStatusUpdateEvent):
        event.final = event.final or event.status.state == types_03.TaskState.input_required
    return response
