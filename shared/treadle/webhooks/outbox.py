"""An outbox: does what is put into it, several things at once, and has an owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Outbox(Generic[T]):
    """Works off what it is given, off its giver's path.

    Args:
        do: is done for each thing; what goes wrong in it is logged, and is not the others' business.
        at_once: how many things are done at the same time.
        waiting: how many more may wait; what comes on top of them is refused.
    """

    def __init__(self, do: Callable[[T], Awaitable[None]], *, at_once: int, waiting: int) -> None:
        self._do = do
        self._room = at_once + waiting
        self._slots = asyncio.Semaphore(at_once)
        self._things: asyncio.Queue[T | None] = asyncio.Queue()
        self._unfinished = 0

    @property
    def room(self) -> int:
        """How many things may be put in now."""
        return max(0, self._room - self._unfinished)

    def put(self, thing: T) -> bool:
        """Have something done soon; False if there is no room for it."""
        if not self.room:
            return False
        self._unfinished += 1
        self._things.put_nowait(thing)
        return True

    async def run(self) -> None:
        """Until `close`, and then until everything is done; or until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while (thing := await self._things.get()) is not None:
                await self._slots.acquire()
                tasks.create_task(self._one(thing), name="outbox")

    def close(self) -> None:
        """Take nothing more."""
        self._room = 0
        self._things.put_nowait(None)

    async def _one(self, thing: T) -> None:
        try:
            await self._do(thing)
        except Exception:
            log.exception("%s could not be done", thing)
        finally:
            self._slots.release()
            self._unfinished -= 1
