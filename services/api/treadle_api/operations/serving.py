"""Runs whose client stays on the line: waiting for the result, or following the events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from functools import partial
from uuid import UUID

from treadle.db.runs import Runs
from treadle.db.scope import EVERYWHERE, Scope
from treadle.operations.asking import Asking
from treadle.operations.cancel import Cancellation
from treadle.operations.create import Creation
from treadle.operations.ids import new_id
from treadle.streaming import EventId, Subscription
from treadle.wire.runs import NewRun, OnDisconnect
from treadle_api.operations.existing import existing_run
from treadle_api.operations.leaving import cancel_for_client
from treadle_api.operations.results import Results
from treadle_api.operations.streams import Streams
from treadle_api.responses import EVENT_STREAM, JSON, OpenResponse, run_headers, waited_for


class Serving:
    """Makes the answers that stay open until a run has ended."""

    def __init__(
        self,
        creation: Creation,
        cancellation: Cancellation,
        results: Results,
        streams: Streams,
        runs: Runs,
        heartbeat_secs: float,
    ) -> None:
        self._creation = creation
        self._cancellation = cancellation
        self._results = results
        self._streams = streams
        self._runs = runs
        self._heartbeat_secs = heartbeat_secs

    async def wait(self, asking: Asking, thread_id: UUID, body: NewRun, *, stateless: bool) -> OpenResponse:
        """Create a run and answer with its result. Raises as `Creation.create` does."""
        run_id = new_id()
        async with AsyncExitStack() as stack:
            subscription = await self._create(stack, asking, run_id, thread_id, body, stateless=stateless)
            result = partial(self._results.after, subscription, thread_id, run_id)
            return OpenResponse(
                waited_for(result, self._heartbeat_secs),
                {**JSON, **run_headers(thread_id, run_id, "join")},
                resources=stack.pop_all(),
                on_disconnect=self._left(thread_id, run_id, body.on_disconnect),
            )

    async def stream(self, asking: Asking, thread_id: UUID, body: NewRun, *, stateless: bool) -> OpenResponse:
        """Create a run and answer with its events. Raises as `Creation.create` does."""
        run_id = new_id()
        async with AsyncExitStack() as stack:
            subscription = await self._create(stack, asking, run_id, thread_id, body, stateless=stateless)
            return OpenResponse(
                self._streams.frames(subscription, thread_id, run_id),
                {**EVENT_STREAM, **run_headers(thread_id, run_id, "stream")},
                resources=stack.pop_all(),
                on_disconnect=self._left(thread_id, run_id, body.on_disconnect),
            )

    async def join(
        self, scope: Scope, thread_id: UUID, run_id: UUID, *, cancel_on_disconnect: bool
    ) -> OpenResponse:
        """Answer with a run's result.

        Raises:
            NotFound: there is no such run.
        """
        await existing_run(self._runs, scope, thread_id, run_id, gone=True)
        return OpenResponse(
            waited_for(partial(self._results.join, thread_id, run_id), self._heartbeat_secs),
            {**JSON, **run_headers(thread_id, run_id, "join")},
            resources=AsyncExitStack(),
            on_disconnect=self._left(thread_id, run_id, "cancel" if cancel_on_disconnect else None),
        )

    async def join_stream(
        self,
        scope: Scope,
        thread_id: UUID,
        run_id: UUID,
        after: EventId | None,
        *,
        modes: Collection[str],
        cancel_on_disconnect: bool,
    ) -> OpenResponse:
        """Answer with a run's events from where the client left off.

        Raises:
            NotFound: there is no such run.
        """
        await existing_run(self._runs, scope, thread_id, run_id, gone=True)
        async with AsyncExitStack() as stack:
            subscription = await stack.enter_async_context(self._streams.watch(run_id, after))
            return OpenResponse(
                self._streams.frames(subscription, thread_id, run_id, modes),
                {**EVENT_STREAM, **run_headers(thread_id, run_id, "stream")},
                resources=stack.pop_all(),
                on_disconnect=self._left(thread_id, run_id, "cancel" if cancel_on_disconnect else None),
            )

    async def cancelled(self, thread_id: UUID, run_id: UUID) -> OpenResponse:
        """Answer once a run that was cancelled has ended."""

        async def ended() -> bytes:
            await self._results.join(thread_id, run_id)
            return b"{}"

        return OpenResponse(
            waited_for(ended, self._heartbeat_secs),
            {**JSON, **run_headers(thread_id, run_id, "join")},
            resources=AsyncExitStack(),
        )

    async def _create(
        self,
        stack: AsyncExitStack,
        asking: Asking,
        run_id: UUID,
        thread_id: UUID,
        body: NewRun,
        *,
        stateless: bool,
    ) -> Subscription:
        """Watch first, then create: so not even the first event can be missed."""
        subscription = await stack.enter_async_context(self._streams.watch_new(run_id))
        await self._creation.create(asking, run_id, thread_id, body, stateless=stateless)
        return subscription

    def _left(
        self, thread_id: UUID, run_id: UUID, wish: OnDisconnect | None
    ) -> Callable[[], Awaitable[None]] | None:
        """What to do when the client goes: nothing, unless it wished the run to end with it."""
        if wish != "cancel":
            return None
        return partial(cancel_for_client, self._cancellation, EVERYWHERE, thread_id, run_id)
