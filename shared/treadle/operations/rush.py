"""Accepting first, executing then: where both share a machine, a rush of requests is over sooner.

To execute a run takes several times what accepting one does. So while many ask for background runs at once, workers are not told
of those that were accepted until the rush is over, or its first one has waited for long enough. Runs whose client waits for
their result or their events are no part of this.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self
from uuid import UUID

from treadle.messaging.wakeups import Waiting

# So many requests at the same time are a rush.
CROWD = 8
# And it is over when there have been fewer for so long.
CALM_SECS = 0.01
# Wake-ups on their way to NATS together, when a rush is over.
TOGETHER = 64
# What is left at the end has so long to get to NATS.
LAST_SECS = 2.0
# More than so many do not wait: they take memory.
MOST = 2000


class _Held(NamedTuple):
    """What is told of a run that waits, without what it holds."""

    run_id: UUID
    thread_id: UUID
    route: str
    attempt: int


class Rush:
    """Keeps wake-ups of background runs while a rush is on; an async context manager that lets go of all at its end.

    What is kept is lost with the process, as is one on its way; the sweeper publishes it then.

    Args:
        wake: publishes one; it never fails.
        secs: how long the first of them waits at the most; 0: none waits.
    """

    def __init__(self, wake: Callable[[Waiting], Coroutine[Any, Any, None]], secs: float) -> None:
        self._wake = wake
        self._secs = secs
        self._accepting = 0
        self._held: list[tuple[_Held, contextvars.Context]] = []
        self._latest: asyncio.TimerHandle | None = None
        self._calm: asyncio.TimerHandle | None = None
        self._telling: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._tell_all()
        if self._telling:
            await asyncio.wait(self._telling, timeout=LAST_SECS)
            for task in self._telling:
                task.cancel()

    @contextmanager
    def accepting(self) -> Generator[None]:
        """A request for a background run is being accepted."""
        self._accepting += 1
        self._look()
        try:
            yield
        finally:
            self._accepting -= 1
            self._look()

    async def wake(self, run: Waiting) -> None:
        """Tell the workers of a background run, at once or when the rush is over."""
        if not self._secs or not (self._held or self._accepting >= CROWD):
            await self._wake(run)
            return
        told = _Held(run.run_id, run.thread_id, run.route, run.attempt)
        self._held.append((told, contextvars.copy_context()))
        if self._latest is None:
            self._latest = asyncio.get_running_loop().call_later(self._secs, self._tell_all)
        if len(self._held) >= MOST:
            self._tell_all()
        else:
            self._look()

    def _look(self) -> None:
        """See whether it is calm, now that something has changed."""
        if self._held and self._accepting < CROWD:
            self._calm = self._calm or asyncio.get_running_loop().call_later(CALM_SECS, self._tell_all)
        elif self._calm is not None:
            self._calm.cancel()
            self._calm = None

    def _tell_all(self) -> None:
        for timer in (self._latest, self._calm):
            if timer is not None:
                timer.cancel()
        self._latest = self._calm = None
        held, self._held = self._held, []
        waiting = iter(held)
        for _ in range(min(TOGETHER, len(held))):
            task = asyncio.create_task(self._tell(waiting), name="end-of-rush")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, waiting: Iterator[tuple[_Held, contextvars.Context]]) -> None:
        for run, context in waiting:
            await asyncio.create_task(self._wake(run), name="late-wake-up", context=context)
