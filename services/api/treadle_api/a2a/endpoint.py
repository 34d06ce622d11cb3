"""The endpoint of every agent: who is meant, and how long an answer may take."""

from __future__ import annotations

import asyncio
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from treadle.db.tasks import TaskRuns
from treadle.model import Assistant
from treadle.operations.assistants import AssistantChoice
from treadle.operations.cancel import Cancellation
from treadle.wire.limits import BodyLimits
from treadle_api.access.access import Access
from treadle_api.operations.following import Following
from treadle_api.operations.schemas import Schemas
from treadle_api.replay import Replay
from treadle_api.waiting import answered_in_time

if TYPE_CHECKING:
    from treadle_api.a2a.server import A2aServer

SERVER = "treadle_api.a2a.server"
STREAMS = frozenset({"message/stream", "tasks/resubscribe", "SendStreamingMessage", "SubscribeToTask"})


class Sources(NamedTuple):
    """What tasks are made of."""

    runs: TaskRuns
    schemas: Schemas
    following: Following
    cancellation: Cancellation


class A2aEndpoint:
    """Answers the protocol's messages. Its server is loaded with the first of them.

    Args:
        prefix: that all paths lie under.
    """

    def __init__(
        self,
        choice: AssistantChoice,
        sources: Sources,
        prefix: str,
        limits: BodyLimits,
        heartbeat_secs: float,
    ) -> None:
        self._limits = limits
        self._choice = choice
        self._sources = sources
        self._prefix = prefix
        self._heartbeat_secs = heartbeat_secs
        self._loaded: A2aServer | None = None

    async def card(self, access: Access, assistant_id: str, base_url: str) -> dict[str, Any]:
        """The card of an assistant.

        Raises:
            InvalidRequest: neither a UUID nor the id of a graph that is served.
            NotFound: no assistant has this id.
        """
        value = {"assistant_id": self._choice.id_of(assistant_id)}
        assistant = await self._choice.read(await access.allow("assistants", "read", value), assistant_id)
        return (await self._server()).card(assistant, self._url(assistant, base_url))

    async def answer(self, access: Access, assistant_id: str, base_url: str, body: bytes) -> ASGIApp:
        """The answer to one POST. Raises as `card` does, and InvalidRequest: it is too deep, or holds too much."""
        self._limits.check_unread(body)
        scope = await access.assistants(self._choice.id_of(assistant_id))
        assistant = await self._choice.choose(scope, assistant_id)
        server, method = await self._server(), _method(body)
        answer = partial(server.answer, access, assistant, self._url(assistant, base_url), method)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            replay = Replay(body, receive)
            if method in STREAMS:
                await answer(scope, replay, send)
            else:
                await answered_in_time(answer, scope, replay, send, self._heartbeat_secs)

        return app

    def _url(self, assistant: Assistant, base_url: str) -> str:
        return f"{base_url.rstrip('/')}{self._prefix}/a2a/{assistant.assistant_id}"

    async def _server(self) -> A2aServer:
        if (server := self._loaded) is None:
            module = await asyncio.to_thread(import_module, SERVER)
            server = self._loaded = cast("A2aServer", module.A2aServer(self._sources))
        return server


class _Call(msgspec.Struct):
    """As much of a message as says what it calls."""

    method: str = ""


def _method(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Call).method
    except msgspec.DecodeError:
        return ""
