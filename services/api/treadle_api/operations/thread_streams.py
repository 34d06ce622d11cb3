"""A thread's stream: the events of all its runs, as the clients of the protocol know them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import AsyncExitStack, aclosing
from uuid import UUID

from treadle import json
from treadle.db.pool import postgres_errors
from treadle.db.scope import Scope
from treadle.db.threads import Threads
from treadle.errors import InvalidRequest
from treadle.operations.missing import no_thread
from treadle.streaming import Frame, frame, pieces
from treadle.telemetry.metrics import Metrics
from treadle_api.operations.thread_events import (
    EventsMissing,
    RunDone,
    RunEvents,
    StateChanged,
    ThreadEvents,
)
from treadle_api.patient import with_heartbeats
from treadle_api.responses import EVENT_STREAM, OpenResponse

MODES = ("run_modes", "lifecycle", "state_update")
# What the clients say for "all that is kept".
FROM_THE_START = frozenset({"-", "-1", "0", "0-0"})
# Places are microseconds: sixteen digits for the next 250 years.
_PLACE = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)


def parse_place(value: str | None) -> int | None:
    """Read the Last-Event-ID of a thread's stream; None: from now on, 0: all that is kept.

    Raises:
        InvalidRequest: it is neither `-` nor an id that the stream of a thread has given out.
    """
    if not value:
        return None
    if value in FROM_THE_START:
        return 0
    if _PLACE.fullmatch(value) is None:
        raise InvalidRequest(
            f"Last-Event-ID: {value[:64]!r} is no id of an event in a thread's stream. Send the `id` of the last event "
            "that you received there, or `-` for all events that are kept."
        )
    return int(value)


def parse_modes(given: Collection[str]) -> frozenset[str]:
    """Read the modes, of which each value may name several with commas in between; none: `run_modes`.

    Raises:
        InvalidRequest: a mode is not one of `MODES`.
    """
    modes = frozenset(mode for item in given for mode in item.split(",") if mode)
    if unknown := sorted(modes - set(MODES)):
        raise InvalidRequest(f"stream_mode: {unknown[0][:64]!r} is not one of: {', '.join(MODES)}")
    return modes or frozenset({"run_modes"})


class ThreadStreams:
    """Follows threads for clients of `GET /threads/{thread_id}/stream`."""

    def __init__(
        self, events: ThreadEvents, threads: Threads, metrics: Metrics, heartbeat_secs: float
    ) -> None:
        self._events = events
        self._threads = threads
        self._metrics = metrics
        self._heartbeat_secs = heartbeat_secs

    async def join(
        self, scope: Scope, thread_id: UUID, after: int | None, modes: frozenset[str]
    ) -> OpenResponse:
        """Answer with what happens on the thread, until the client goes.

        Raises:
            NotFound: there is no such thread.
        """
        with postgres_errors("reading a thread"):
            if await self._threads.get(scope, thread_id) is None:
                raise no_thread(thread_id)
        pieces = with_heartbeats(self._frames(scope, thread_id, after, modes), self._heartbeat_secs)
        return OpenResponse(self._counted(pieces), EVENT_STREAM, resources=AsyncExitStack())

    async def _counted(self, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        self._metrics.stream_clients.inc()
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
        finally:
            self._metrics.stream_clients.dec()

    async def _frames(
        self, scope: Scope, thread_id: UUID, after: int | None, modes: frozenset[str]
    ) -> AsyncGenerator[bytes]:
        all_events, of_runs = "run_modes" in modes, bool(modes - {"state_update"})
        async with aclosing(self._events.follow(scope, thread_id, after)) as happenings:
            async for happening in happenings:
                if isinstance(happening, StateChanged):
                    if "state_update" in modes:
                        yield frame("state_update", happening.data)
                elif of_runs:
                    for piece in pieces(_frames(happening, all_events)):
                        yield piece


def _frames(happening: RunEvents | EventsMissing | RunDone, all_events: bool) -> Iterator[Frame]:
    """The frames of what happened, be it none."""
    match happening:
        case RunEvents(events=events):
            for event in events:
                if all_events or event.event == "metadata":
                    yield event.event, event.data, event.place
        case EventsMissing(error=error):
            if all_events:
                yield _error({"error": "EventsLost", "message": str(error)})
        case RunDone(run, place, error=error):
            if error and all_events:
                yield _error(error)
            yield "metadata", json.encode({"status": "run_done", "run_id": run.run_id}), place


def _error(error: object) -> Frame:
    return "error", json.encode(error), None
