"""A run in this worker's hands, and the reasons to stop it early."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum

from langgraph.runtime import RunControl
from opentelemetry.context import Context

from treadle.model import Run


class Stop(StrEnum):
    """Why a run is stopped before its graph ends. The first reason stands, but for LOST, which beats all."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    DRAIN = "drain"
    # The lease is gone: somebody else owns the run, and nothing may be written for it any more.
    LOST = "lost"


class ActiveRun:
    """One attempt of one run. All methods are for the worker's own loop.

    Args:
        trace: the parent of its spans; None: the current span.
    """

    def __init__(self, run: Run, trace: Context | None = None) -> None:
        self.run = run
        self.trace = trace
        self.control = RunControl()
        self.stopped: Stop | None = None
        # By `time.monotonic()`: this attempt began, and its graph came to its end, be it that it was stopped.
        self.since = time.monotonic()
        self.over_at: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._grace_secs = 0.0
        self._timer: asyncio.TimerHandle | None = None
        # Whether the task has ended; until then it is waited for.
        self._over: asyncio.Future[bool] = asyncio.Future()

    @property
    def executing(self) -> bool:
        """Whether the graph is on, rather than not yet started or ended."""
        return self._task is not None

    async def drive(self, task: asyncio.Task[None], grace_secs: float) -> bool:
        """Wait for the task that executes the graph, stopping it when asked to.

        Returns:
            False when it was stopped and has not ended `grace_secs` later: user code that swallows cancellation.
        """
        self._task, self._grace_secs = task, grace_secs
        task.add_done_callback(lambda _: self._let_go(True))
        if self.stopped is not None:
            self._break_off(task)
        try:
            ended = await self._over
            if ended and self.stopped is not None and not task.cancelled():
                task.exception()  # nobody else asks how a run ended that was stopped
            return ended
        finally:
            self._task = None
            self.over_at = time.monotonic()
            if self._timer is not None:
                self._timer.cancel()

    def stop(self, reason: Stop) -> None:
        """Stop the graph at its next await."""
        if self.stopped is None or reason is Stop.LOST:
            first, self.stopped = self.stopped is None, reason
            if first and self._task is not None:
                self._break_off(self._task)

    def _break_off(self, task: asyncio.Task[None]) -> None:
        """Should the cancel be forgotten on its way, by a node or by `asyncio.wait_for` up to Python 3.11: no other step begins."""
        self.control.request_drain()
        task.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._grace_secs, self._let_go, False)

    def _let_go(self, ended: bool) -> None:
        if not self._over.done():
            self._over.set_result(ended)

    def drain(self) -> None:
        """Stop the graph before its next step; what the present step does is kept."""
        self.control.request_drain()


def timed_out(run: Run, timeout_secs: float) -> dict[str, str]:
    """The error of an attempt that has had its time."""
    return {
        "error": "RunTimeout",
        "message": f"attempt {run.attempt} took longer than {timeout_secs:g} seconds (BG_JOB_TIMEOUT_SECS); "
        "the last checkpoint is kept",
    }
