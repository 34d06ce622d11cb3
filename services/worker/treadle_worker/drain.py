"""The drain: what a worker does with its runs when it is told to stop.

It stops pulling at once. Runs may finish for the grace period; in its last seconds they stop before their next step, and when
it is over the step is broken off. Runs that did not finish are handed back, and another worker resumes them at once: within
a second of the end of the grace period, or of the signal when there is none (docs/reliability.md).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import time
from collections.abc import Collection, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

from treadle.patience import unless
from treadle_worker.execution import Executor

log = logging.getLogger(__name__)

T = TypeVar("T")

# In the last seconds of the grace period no run begins another step: what a step has done by its end is kept.
LAST_STEP_SECS = 5.0
# A step that is not over this long after the grace period is broken off.
LAST_MOMENT_SECS = 0.2


class Drain:
    """Waits to be told to stop, and winds the slots down. A second signal cuts the grace period short.

    But for `tell` and `over_at`, which are for any thread, all of it is for the loop.
    """

    def __init__(self, grace_secs: float) -> None:
        self._grace_secs = grace_secs
        self.started = asyncio.Event()
        self.hastened = asyncio.Event()
        self._over_at: float | None = None

    @property
    def over_at(self) -> float | None:
        """When the last step has been broken off, by `time.monotonic()`; None before it begins."""
        return self._over_at

    def listen(self) -> None:
        """Start on SIGTERM or SIGINT."""
        loop, numbers = asyncio.get_running_loop(), itertools.count()

        def on_signal(_: int, __: FrameType | None) -> None:
            # Not the loop's own handlers: they run on the loop, and this one also while code of a node blocks it.
            self.tell(loop, haste=next(numbers) > 0)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)

    def tell(self, loop: asyncio.AbstractEventLoop, *, haste: bool = False) -> None:
        """Begin, or hasten, from any thread. The time runs at once, also while the loop is blocked."""
        self._count_down(0 if haste else self._grace_secs)
        with suppress(RuntimeError):  # the loop is closed: nothing is left to be stopped
            loop.call_soon_threadsafe(self.hasten if haste else self.begin)

    def _count_down(self, grace_secs: float) -> None:
        """It never takes longer than was said before."""
        over_at = time.monotonic() + grace_secs + LAST_STEP_SECS
        self._over_at = over_at if self._over_at is None else min(self._over_at, over_at)

    def begin(self) -> None:
        """Stop pulling, and let runs finish for the grace period."""
        self._count_down(self._grace_secs)
        self.started.set()

    def hasten(self) -> None:
        """Wait no longer for that."""
        self._count_down(0)
        self.started.set()
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
        # One that fails does not end the others, which still have their runs to hand back.
        everything = asyncio.create_task(asyncio.wait(slots), name="slots")
        last_secs = min(LAST_STEP_SECS, self._grace_secs)

        async def wait(secs: float) -> None:
            await asyncio.wait({everything, hastened}, timeout=secs, return_when=asyncio.FIRST_COMPLETED)

        await wait(self._grace_secs - last_secs)
        for active in executor.active:
            active.drain()
        await wait(last_secs)
        hastened.cancel()
        await asyncio.wait({everything}, timeout=LAST_MOMENT_SECS)
        executor.hand_back()
        await everything
