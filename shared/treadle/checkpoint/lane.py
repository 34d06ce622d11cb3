"""The writes of one attempt on their way to Postgres, in their order.

What comes within a moment goes in one statement. So a graph of short steps has a round trip or two to Postgres in all, and not
two for each step; what they cost is what a run costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

# How long a write may wait for others to go with.
TOGETHER_SECS = 0.025


class Lane(Generic[T]):
    """What is added is written by one task, which ends when nothing is left.

    Args:
        write: writes some of what was added, all that is left or its beginning; returns how many.
        name: of the task.
    """

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[int]], name: str) -> None:
        self._write = write
        self._name = name
        self._waiting: list[T] = []
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    def add(self, item: T) -> None:
        """Have something written soon.

        Raises:
            Exception: what an earlier write has failed with; nothing is written after that.
        """
        if self._failure is not None:
            raise self._failure
        self._waiting.append(item)
        if self._timer is None and self._task is None:
            self._timer = asyncio.get_running_loop().call_later(TOGETHER_SECS, self._begin)

    async def written(self) -> None:
        """Wait until all that was added is written; it does not wait for company any more.

        Raises:
            Exception: what a write has failed with.
        """
        if self._timer is not None:
            self._begin()
        if self._task is not None:
            await asyncio.wait({self._task})
        if self._failure is not None:
            raise self._failure

    def take(self) -> list[T]:
        """What waits, unless something is being written: it is not written here any more."""
        if self._timer is None:
            return []
        self._forget_timer()
        taken, self._waiting = self._waiting, []
        return taken

    def _begin(self) -> None:
        self._forget_timer()
        self._task = asyncio.create_task(self._drain(), name=self._name)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _drain(self) -> None:
        try:
            while self._waiting:
                count = await self._write(tuple(self._waiting))
                del self._waiting[:count]
        except Exception as error:  # noqa: BLE001 - whoever adds or waits is told
            self._failure = error
            self._waiting.clear()
        finally:
            self._task = None
