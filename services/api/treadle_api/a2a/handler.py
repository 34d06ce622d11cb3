"""The protocol's methods for one assistant, on runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, NoReturn, TypeVar, cast

from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers import request_handler
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types.a2a_pb2 import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import PushNotificationNotSupportedError
from a2a.utils.task import apply_history_length, validate_history_length

from treadle.model import Assistant
from treadle_api.a2a.agent import Agent
from treadle_api.a2a.errors import told
from treadle_api.a2a.listing import listed

# Whether the history of a task is that of its whole context, or its own.
SCOPE_HEADER = "langgraph-a2a-history-scope"


M = TypeVar("M", bound=Callable[..., Any])
T = TypeVar("T")


def validated(method: M) -> M:
    """Refuses messages without the fields that the protocol requires."""
    return cast(Any, request_handler).validate_request_params(method)


class AssistantHandler(RequestHandler):
    """Answers for one assistant. Whatever is known of a task is in Postgres, so any process can answer."""

    def __init__(self, agent: Agent, assistant: Assistant, card: AgentCard) -> None:
        self._agent = agent
        self._assistant = assistant
        self._card = card

    @validated
    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task | Message:
        validate_history_length(params.configuration)
        with told():
            task = await self._agent.send(
                self._assistant, params.message, at_once=params.configuration.return_immediately
            )
        return apply_history_length(_scoped(task, context), params.configuration)

    @validated
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        with told():
            async with aclosing(self._agent.stream(self._assistant, params.message)) as events:
                async for event in events:
                    yield _scoped(event, context)

    @validated
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task | None:
        validate_history_length(params)
        with told():
            task, run = await self._agent.find(self._assistant, params.id)
            described = await self._agent.describe(task, run)
        return apply_history_length(_scoped(described, context), params)

    @validated
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task | None:
        with told():
            return _scoped(await self._agent.cancel(self._assistant, params.id), context)

    @validated
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        with told():
            async with aclosing(self._agent.follow(self._assistant, params.id)) as events:
                async for event in events:
                    yield _scoped(event, context)

    @validated
    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        with told():
            page = await listed(self._agent, self._assistant, params)
        for task in page.tasks:
            task.CopyFrom(apply_history_length(_scoped(task, context), params))
        return page

    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        return self._card

    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        _no_push()

    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        _no_push()

    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        _no_push()

    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        _no_push()


def _scoped(event: T, context: ServerCallContext) -> T:
    """With the history that the client wishes: that of the context, or only the task's own."""
    if isinstance(event, Task) and context.state.get("headers", {}).get(SCOPE_HEADER) == "task":
        own = [message for message in event.history if message.task_id == event.id]
        del event.history[:]
        event.history.extend(own)
    return event


def _no_push() -> NoReturn:
    raise PushNotificationNotSupportedError(
        "Push notifications are not sent. Follow the task, or ask for it."
    )
