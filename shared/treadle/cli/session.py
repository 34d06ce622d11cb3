"""One run on a server, from the request to the outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError
from langgraph_sdk.schema import Command, Run, RunCreateMetadata, StreamPart, ThreadState

from treadle.cli.cancel import cancel
from treadle.cli.happenings import Attempt, Failed, read
from treadle.cli.request import Outcome, Question, Request, Status
from treadle.cli.server_errors import server_errors
from treadle.cli.view import View
from treadle.errors import TreadleError


class Session:
    """Streams a run into a view, and cancels it on the server when it is itself cancelled (Ctrl-C).

    The stream is resumable: when the connection breaks, the SDK takes it up again after the last event.
    """

    def __init__(self, client: LangGraphClient, request: Request, view: View) -> None:
        self._client = client
        self._request = request
        self._view = view
        self._run: str | None = None
        self._error: str | None = None

    async def run(self) -> Outcome:
        """Returns when the run has ended, in whatever way.

        Raises:
            TreadleError: the server could not be reached, or refused the request.
        """
        with server_errors(self._request.url), self._view:
            thread = self._request.thread or (await self._client.threads.create())["thread_id"]
            started = time.monotonic()
            cancelled = await self._stream_or_cancel(thread)
            outcome = await self._outcome(thread, time.monotonic() - started, cancelled)
            self._view.end(outcome)
            return outcome

    async def _stream_or_cancel(self, thread: str) -> bool:
        """Whether the run was cancelled from here."""
        try:
            async with _animation(self._view):
                async for part in self._parts(thread):
                    self._note(part)
                    self._view.part(part)
        except asyncio.CancelledError:
            if self._run is None:
                raise  # the server has not accepted a run yet
            cast("asyncio.Task[Any]", asyncio.current_task()).uncancel()
            await self._cancel(thread, self._run)
            return True
        return False

    def _parts(self, thread: str) -> AsyncIterator[StreamPart]:
        request = self._request
        return self._client.runs.stream(
            thread,
            request.graph,
            input=request.input.value if request.input else None,
            command=Command(resume=request.resume.value) if request.resume else None,
            config=request.config,
            context=request.context,
            stream_mode=list(self._view.modes),
            stream_subgraphs=True,
            stream_resumable=True,
            on_disconnect="continue",
            on_run_created=self._created,
        )

    def _created(self, run: RunCreateMetadata) -> None:
        self._run = run["run_id"]

    def _note(self, part: StreamPart) -> None:
        for happening in read(part) if part.event in {"metadata", "error"} else ():
            if isinstance(happening, Attempt):
                self._run = happening.run_id
            elif isinstance(happening, Failed):
                self._error = happening.error

    async def _cancel(self, thread: str, run: str) -> None:
        self._view.say(f"Cancelling run {run} on the server ...")
        await cancel(self._client, self._request.url, thread, run)

    async def _outcome(self, thread: str, seconds: float, cancelled: bool) -> Outcome:
        if self._run is None:
            raise TreadleError(
                f"The server at {self._request.url} ended the stream without a run. Is it an Agent Server?"
            )
        run = await self._ended_run(thread, self._run)
        state = await self._client.threads.get_state(thread)
        questions = _questions(state)
        status = self._status(run, asked=bool(questions), cancelled=cancelled)
        return Outcome(
            status,
            self._run,
            thread,
            seconds,
            values=state["values"],
            questions=questions if status is Status.QUESTION else (),
            error=self._error,
        )

    async def _ended_run(self, thread: str, run: str) -> Run | None:
        """The run, or None when it was rolled back meanwhile."""
        with suppress(NotFoundError):
            return await self._client.runs.get(thread, run)
        return None

    def _status(self, run: Run | None, *, asked: bool, cancelled: bool) -> Status:
        """A run that asks has the status `success` or `interrupted`; one that was cancelled may be gone."""
        match run["status"] if run else "gone":
            case "timeout":
                return Status.TIMEOUT
            case "error":
                return Status.ERROR
            case "interrupted" | "gone" if cancelled:
                return Status.CANCELLED
            case "success" | "interrupted" if asked:
                return Status.QUESTION
            case "interrupted" | "gone":
                return Status.STOPPED
            case _:
                return Status.SUCCESS


def _questions(state: ThreadState) -> tuple[Question, ...]:
    interrupts = cast("list[dict[str, Any]]", state["interrupts"])
    return tuple(Question(interrupt["id"], interrupt["value"]) for interrupt in interrupts)


@asynccontextmanager
async def _animation(view: View) -> AsyncGenerator[None]:
    """The picture moves while the block runs."""
    task = asyncio.create_task(view.animate(), name="animation")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
