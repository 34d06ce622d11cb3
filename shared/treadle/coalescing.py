"""Doing for many at once what each of them asks for alone: what arrives while one call is on its way goes with the next."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from treadle.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")

# A flight that takes longer, be it that it waits for a lock, does not keep the next one on the ground.
LONG_SECS = 0.05


class Coalescer(Generic[T, R]):
    """Hands items on, as many at a time as have gathered: whoever comes first does not wait, and a crowd shares the costs.

    One flight is under way at a time, unless it takes long. A flight that fails as a whole does so for all of its items if
    it is Unavailable, which says nothing of any of them; after any other error each item is tried alone, and fails alone.

    Args:
        name: of the tasks that fly.
        do: gives the result of each item, in their order; an exception in the place of a result is raised for that item. What
            it does has to be undone when it raises, or may be done twice.
        most: items in a flight.
    """

    def __init__(
        self,
        name: str,
        do: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        most: int,
        long_secs: float = LONG_SECS,
    ) -> None:
        self._name = name
        self._do = do
        self._most = most
        self._long_secs = long_secs
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._next: asyncio.Task[None] | None = None
        """Who takes those that wait; held, with those that take long, so that nobody flies unowned."""
        self._flying: set[asyncio.Task[None]] = set()

    async def __call__(self, item: T) -> R:
        """The result of one item. Cancelling it disturbs no other; what is under way already is done all the same."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._next is None:
            self._begin()
        return await result

    def _begin(self) -> None:
        # Of no caller's context: the first one's would be the others' too.
        task = asyncio.create_task(self._fly(), name=self._name, context=contextvars.Context())
        self._next = task
        self._flying.add(task)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.discard(task)
        if self._next is task:
            self._pass_on()

    def _pass_on(self) -> None:
        """Let another task take those that wait."""
        self._next = None
        if self._waiting:
            self._begin()

    async def _fly(self) -> None:
        """Until nobody waits, or another one has taken over."""
        this, loop = asyncio.current_task(), asyncio.get_running_loop()
        while self._next is this and (taken := self._take()):
            takes_long = loop.call_later(self._long_secs, self._pass_on)
            try:
                await self._together(taken)
            except BaseException:
                for _, result in taken:
                    result.cancel()
                raise
            finally:
                takes_long.cancel()

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        taken: list[tuple[T, asyncio.Future[R]]] = []
        while self._waiting and len(taken) < self._most:
            item, result = self._waiting.popleft()
            if not result.done():
                taken.append((item, result))
        return taken

    async def _together(self, taken: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            outcomes = list(zip(taken, await self._do([item for item, _ in taken]), strict=True))
        except Exception as error:  # noqa: BLE001 - it is raised to those whom it concerns
            if len(taken) > 1 and not isinstance(error, Unavailable):
                await asyncio.gather(*(self._together([one]) for one in taken))
                return
            outcomes = [(one, error) for one in taken]
        for (_, result), outcome in outcomes:
            _settle(result, outcome)


def _settle(result: asyncio.Future[R], outcome: R | Exception) -> None:
    if result.done():
        return
    if isinstance(outcome, Exception):
        result.set_exception(outcome)
    else:
        result.set_result(outcome)
