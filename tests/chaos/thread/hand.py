"""An attempt of a run in the hands of a worker that the test plays: it goes on only when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, cast

from langgraph.errors import GraphDrained

from tests.chaos.thread.bench import Bench
from treadle import json
from treadle.checkpoint.fenced import FencedSaver
from treadle.db.runs import Lease, Outcome
from treadle.errors import Fenced
from treadle.messaging.wakeups import Delivery
from treadle.model import Run
from treadle_worker.active import ActiveRun
from treadle_worker.attempt import Attempt
from treadle_worker.endings import Ended, HandedBack, Lost
from treadle_worker.execution import CANCELLED
from treadle_worker.inputs import graph_input, run_config
from treadle_worker.resumption import answers_left, resumes

# Far more than a step takes: when it is over, something waits for what never comes.
STEP_SECS = 30.0


class Outlet:
    """Takes the events of an attempt, and holds the attempt up after each of them until it is let go on."""

    def __init__(self) -> None:
        self._held = asyncio.Event()
        self._go = asyncio.Event()

    def write(self, event: str, data: bytes) -> None:
        """What clients are told is not this machine's business."""

    async def ready(self) -> None:
        self._held.set()
        await self._go.wait()
        self._go.clear()

    async def let_go_on(self, task: asyncio.Task[None]) -> None:
        """Until it is held up again, or has ended."""
        self._held.clear()
        self._go.set()
        held = asyncio.create_task(self._held.wait(), name="held")
        await asyncio.wait({task, held}, return_when=asyncio.FIRST_COMPLETED)
        held.cancel()


class QuietSaver(FencedSaver):
    """The product's saver, of which one can wait until it has nothing under way."""

    async def quiet(self, task: asyncio.Task[None]) -> None:
        """langgraph hands writes to tasks of its own: those get a turn to begin, and what they write is committed then.

        What a run has written last goes with its outcome.
        """
        for _ in range(5):
            await asyncio.sleep(0)
        if not task.done():
            with suppress(Fenced):
                await self.written()


class Hand:
    """What a worker does with a run that it has claimed, as `treadle_worker.execution` does it.

    Attributes:
        ended: how it came to its end, once it has; the worker has not written that yet.
    """

    def __init__(self, bench: Bench, run: Run, delivery: Delivery, lease: Lease) -> None:
        self.run = run
        self.lease = lease
        self.delivery = delivery
        self.ended: Ended | HandedBack | Lost | None = None
        self._bench = bench
        self._active = ActiveRun(run)
        self._outlet = Outlet()
        self._saver = QuietSaver(bench.checkpoints, bench.pool, run.run_id, run.attempt, deferred=True)
        self._attempt: Attempt | None = None
        self._task: asyncio.Task[None] | None = None

    async def step(self) -> None:
        """Let the graph do its next step, or come to its end."""
        async with asyncio.timeout(STEP_SECS):
            if self._task is None:
                await self._begin()
            assert self._task is not None
            await self._outlet.let_go_on(self._task)
            await self._saver.quiet(self._task)
            if self._task.done():
                self.ended = await self._end(self._task)

    async def stop(self, status: str) -> None:
        """Break the graph off, as a cancel or a timeout does, and see what it left."""
        if self._attempt is None:
            await self._begin(idle=True)
        assert self._attempt is not None
        await self.let_go()
        error = CANCELLED if status == "interrupted" else {"error": "RunTimeout", "message": "as asked for"}
        self.ended = await _unless_lost(self._attempt.stopped(status, error))

    async def let_go(self) -> None:
        """Break the graph off and say nothing: the worker hands the run back, or dies."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._task
            await self._saver.quiet(self._task)

    async def _begin(self, *, idle: bool = False) -> None:
        resumed = await resumes(self.run, self._bench.savers, self._bench.runs)
        config = run_config(self.run, resumed=resumed)
        graph = self._bench.graph.copy({"checkpointer": self._saver})
        given = await answers_left(graph, self.run) if resumed else graph_input(self.run)
        self._attempt = Attempt(
            self._active,
            graph,
            config,
            cast(Any, self._outlet),
            given=given,
            saver=self._saver,
            on_first_event=lambda secs: None,
        )
        if not idle:
            self._task = asyncio.create_task(self._attempt.stream(), name=f"attempt-{self.run.attempt}")

    async def _end(self, task: asyncio.Task[None]) -> Ended | HandedBack | Lost:
        assert self._attempt is not None
        try:
            task.result()
        except GraphDrained:
            return HandedBack()
        except Fenced:
            return Lost()
        except Exception as error:  # noqa: BLE001 - whatever a graph raises is its outcome
            failure = {"error": type(error).__name__, "message": str(error)}
            return await _unless_lost(self._attempt.stopped("error", failure))
        return await _unless_lost(self._attempt.succeeded())


async def _unless_lost(outcome: Awaitable[Outcome]) -> Ended | Lost:
    """Whoever reads what a graph left may hear that another attempt has the run: what it put a moment ago was refused."""
    try:
        return Ended(await outcome)
    except Fenced:
        return Lost()


def decoded(data: bytes | None) -> Any:
    return None if data is None else json.decode(data)


def error_of(outcome: Outcome) -> str | None:
    """The name of the error in an outcome."""
    return None if outcome.error is None else decoded(outcome.error)["error"]
