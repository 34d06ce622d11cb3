"""Answers that are held back until a run has ended, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from treadle.errors import StillRunning, Unavailable

T = TypeVar("T")


class Holding:
    """Holds answers.

    A request over NATS does not tell when whoever sent it has left, as a connection does, and gives no sign of life: so
    none is held longer than callers would wait.

    Args:
        most_secs: for how long, at the most.
    """

    def __init__(self, most_secs: float) -> None:
        self._most_secs = most_secs
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Answer all who wait: this process ends."""
        self._closing.set()

    async def result(self, awaited: Coroutine[Any, Any, T], wished_secs: float | None) -> T:
        """What is awaited, if it comes in time.

        Raises:
            StillRunning: it did not.
            Unavailable: the process ends; another one can be asked.
        """
        secs = min(wished_secs or self._most_secs, self._most_secs)
        waiting = asyncio.create_task(awaited, name="result")
        closing = asyncio.create_task(self._closing.wait(), name="closing")
        try:
            await asyncio.wait({waiting, closing}, timeout=secs, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            if closing.done():
                raise Unavailable("This API process stops while the run goes on: ask again with join.")
            raise StillRunning(f"The run is still running after {secs:g} seconds: ask again with join.")
        finally:
            for task in (waiting, closing):
                task.cancel()
            await asyncio.gather(waiting, closing, return_exceptions=True)
