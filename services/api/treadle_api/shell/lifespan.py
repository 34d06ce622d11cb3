"""The lifespan of the user's app: begun before the first request, ended after the last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from treadle.graphs.loader import GraphImportError

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]


@asynccontextmanager
async def living(app: Any, where: str) -> AsyncGenerator[dict[str, Any]]:
    """Begin an app's lifespan, and end it with the block; an app without one is served all the same.

    Args:
        where: what names the app, for errors.

    Yields:
        The state that the app left for its requests.

    Raises:
        GraphImportError: the app could not start; the cause is its own error.
    """
    talk = _Talk(app)
    task = asyncio.create_task(talk.run(), name="lifespan")
    try:
        await talk.tell("lifespan.startup", task)
        if (problem := talk.failed) is not None:
            raise GraphImportError(
                f"{where} could not start: {problem}. Its lifespan has to begin without an error."
            ) from talk.error
        yield talk.state
        await talk.tell("lifespan.shutdown", task)
        if talk.failed is not None:
            log.error("%s did not shut down cleanly: %s", where, talk.failed, exc_info=talk.error)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Talk:
    """Both ends of the conversation that ASGI calls lifespan."""

    def __init__(self, app: Any) -> None:
        self.state: dict[str, Any] = {}
        self.failed: str | None = None
        self.error: BaseException | None = None
        self._app = app
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._answered = asyncio.Event()

    async def run(self) -> None:
        """The app's side. An error before any answer says that the app knows no lifespan, as ASGI has it."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._told.get, self._answer)
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises
            self.error = error
            log.debug("the app's lifespan ended: %r", error)

    async def tell(self, event: str, task: asyncio.Task[None]) -> None:
        """Say what happens, and wait until the app has dealt with it or is gone."""
        self._answered.clear()
        await self._told.put({"type": event})
        answered = asyncio.create_task(self._answered.wait(), name=event)
        await asyncio.wait({answered, task}, return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()
        if self.failed is not None:
            # Frameworks raise what went wrong after they have told of it.
            await asyncio.wait({task}, timeout=1)

    async def _answer(self, message: Message) -> None:
        if message["type"].endswith(".failed"):
            lines = str(message.get("message") or "it gave no reason").strip().splitlines()
            self.failed = lines[-1]
        self._answered.set()
