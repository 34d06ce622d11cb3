"""The events of a thread for one client: those that it wants, one after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Protocol
from uuid import UUID

from treadle.db.pool import postgres_errors
from treadle.db.scope import Scope
from treadle.db.threads import Threads
from treadle.operations.missing import no_thread
from treadle.streaming import Frame, pieces
from treadle.telemetry.metrics import Metrics
from treadle_api.access.access import Access
from treadle_api.operations.thread_events import EventsMissing, ThreadEvents
from treadle_api.patient import with_heartbeats
from treadle_api.protocol.events import ProtocolEvent, lost, told
from treadle_api.protocol.filters import EventFilter
from treadle_api.responses import EVENT_STREAM, OpenResponse

# Only the error of a gap has no event.
Told = ProtocolEvent | bytes


class Wanted(Protocol):
    """What a client wants of a thread: one filter, or several."""

    @property
    def since(self) -> int | None: ...
    def wants(self, event: ProtocolEvent) -> bool: ...


class ProtocolStreams:
    """Follows threads for the protocol's clients, over SSE and websockets."""

    def __init__(
        self, events: ThreadEvents, threads: Threads, metrics: Metrics, heartbeat_secs: float
    ) -> None:
        self._events = events
        self._threads = threads
        self._metrics = metrics
        self._heartbeat_secs = heartbeat_secs

    async def sse(self, access: Access, thread_id: UUID, wanted: EventFilter) -> OpenResponse:
        """Answer with server-sent events, until the client goes. Raises as `check` does."""
        scope = await self.check(access, thread_id)
        frames = with_heartbeats(_frames(self.follow(scope, thread_id, wanted)), self._heartbeat_secs)
        return OpenResponse(frames, EVENT_STREAM, resources=AsyncExitStack())

    async def check(self, access: Access, thread_id: UUID) -> Scope:
        """In which scope a thread may be followed. One that does not exist yet may be: its first run may make it.

        Raises:
            NotFound: it is none of this client's.
        """
        scope = await access.allow("threads", "read", {"thread_id": thread_id})
        with postgres_errors("reading a thread"):
            if await self._threads.is_outside(scope, thread_id):
                raise no_thread(thread_id)
        return scope

    async def follow(self, scope: Scope, thread_id: UUID, wanted: Wanted) -> AsyncGenerator[list[Told]]:
        """What a client wants of a thread, after its `since`; without it, all that is kept. For ever."""
        self._metrics.stream_clients.inc()
        try:
            async with aclosing(self._events.follow(scope, thread_id, wanted.since or 0)) as happenings:
                async for happening in happenings:
                    if isinstance(happening, EventsMissing):
                        yield [lost(happening.error)]
                    elif events := [event for event in told(happening) if wanted.wants(event)]:
                        yield [*events]
        finally:
            self._metrics.stream_clients.dec()


async def _frames(events: AsyncGenerator[list[Told]]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for batch in events:
            for piece in pieces(_frame(event) for event in batch):
                yield piece


def _frame(event: Told) -> Frame:
    return (
        (event.method, event.json, event.seq) if isinstance(event, ProtocolEvent) else ("error", event, None)
    )
