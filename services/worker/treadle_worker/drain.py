"""The drain: what a worker does with its runs when it is told to stop.

It stops pulling at once. Runs may finish for the grace period; then they stop before their next step; a step that
takes too long is broken off. Runs that did not finish are handed back, and another worker resumes them at once.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

from treadle.patience import unless
from treadle_worker.active import Stop
from treadle_worker.execution import Executor

log = logging.getLogger(__name__)

T = TypeVar("T")

# A step that is not over this long after the grace period is broken off.
LAST_STEP_SECS = 5.0


class Drain:
    """Waits for the signal, and winds the slots down. A second signal cuts the grace period short."""

    def __init__(self, grace_secs: float) -> None:
        self._grace_secs = grace_secs
        self.started = asyncio.Event()
        self.hastened = asyncio.Event()

    def listen(self) -> None:
        """Start on SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self.started.is_set():
            self.hasten()
        else:
            self.begin()

    def begin(self) -> None:
        """Stop pulling, and let runs finish for the grace period."""
        self.started.set()

    def hasten(self) -> None:
        """Wait no longer for that."""
        self.hastened.set()

    async def unless_started(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do something that may wait for long; None when the signal comes first, and it is given up."""
        started = asyncio.create_task(self.started.wait(), name="drain")
        try:
            return await unless(started, work)
        finally:
            started.cancel()

    async def finish(self, executor: Executor, slots: Collection[asyncio.Task[None]]) -> None:
        """Wind down, and return when every slot has let go of its run."""
        log.info("draining: %s runs have %g seconds to finish", len(executor.active), self._grace_secs)
        hastened = asyncio.create_task(self.hastened.wait(), name="hastened")
        everything = asyncio.gather(*slots)
        await asyncio.wait(
            {everything, hastened}, timeout=self._grace_secs, return_when=asyncio.FIRST_COMPLETED
        )
        hastened.cancel()
        for active in executor.active:
            active.drain()
        await asyncio.wait({everything}, timeout=LAST_STEP_SECS)
        for active in executor.active:
            active.stop(Stop.DRAIN)
        await everything
