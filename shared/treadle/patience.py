"""Waiting for servers that come up later than we do, or go away again while we start."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar, cast

from treadle.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_SECS = 0.2
LONGEST_SECS = 2.0
# One line for each new reason, and then one in so long: enough to be found in a log, too little to fill it.
REMIND_SECS = 30.0

# Something that was told to give up and has not is told again.
CANCEL_AGAIN_SECS = 0.5

OK = "ok"
# Is told what is wrong with a server, or OK.
Tell = Callable[[str], None]


def nobody(_: str) -> None:
    """For those who do not want to be told."""


class Reminder:
    """Says what is waited for: when the reason changes, and once in a while."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._since = 0.0
        self._said = ""
        self._said_at = 0.0

    def waiting(self, why: str) -> None:
        now = time.monotonic()
        if not self._said:
            self._since = now
        if why != self._said or now - self._said_at >= REMIND_SECS:
            log.warning("waiting for %s: %s", self._what, why)
            self._said, self._said_at = why, now

    def over(self) -> None:
        if self._said:
            log.info("%s is there, after %.1f s", self._what, time.monotonic() - self._since)
            self._said = ""


async def patiently(what: str | Reminder, attempt: Callable[[], Awaitable[T]], tell: Tell = nobody) -> T:
    """Try until it works, with growing pauses, and say what is waited for.

    Args:
        what: the server, with its address; without the password in it. Many who wait for the same at once share a reminder, and
            its lines.
        tell: is told the reason of each failure, and OK in the end.
    """
    reminder, pause = what if isinstance(what, Reminder) else Reminder(what), FIRST_SECS
    while True:
        try:
            made = await attempt()
        except Unavailable as error:
            tell(str(error))
            reminder.waiting(str(error))
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - a fleet must not come in step
            pause = min(pause * 2, LONGEST_SECS)
            continue
        reminder.over()
        tell(OK)
        return made


async def open_patiently(
    what: str, stack: AsyncExitStack, attempt: Callable[[AsyncExitStack], Awaitable[T]], tell: Tell = nobody
) -> T:
    """Try to open several things until all are open; what a failed attempt has opened is closed before the next.

    Args:
        stack: closes what was opened.
        attempt: opens everything on the stack that it is given.
    """

    async def once() -> T:
        async with AsyncExitStack() as tentative:
            made = await attempt(tentative)
            stack.push_async_exit(tentative.pop_all())
            return made

    return await patiently(what, once, tell)


async def unless(stop: asyncio.Future[Any], work: Coroutine[Any, Any, T]) -> T | None:
    """Do something that may wait for long; None when `stop` is done first, and it is given up.

    It is done by the caller's own task: what it opens may have to be closed by the task that opened it. It is cancelled until
    it gives up: `asyncio.wait_for` of Python 3.11 forgets a cancel that comes as what it waits for is done, and the connecting
    of a client that tries for ever would go on.
    """
    task, loop = cast("asyncio.Task[object]", asyncio.current_task()), asyncio.get_running_loop()
    before, cancels = task.cancelling(), 0
    again: asyncio.TimerHandle | None = None

    def give_up(_: object = None) -> None:
        nonlocal again, cancels
        cancels += 1
        task.cancel()
        again = loop.call_later(CANCEL_AGAIN_SECS, give_up)

    stop.add_done_callback(give_up)
    try:
        return await work
    except asyncio.CancelledError:
        if not cancels or task.cancelling() > before + cancels:
            raise
        return None
    finally:
        stop.remove_done_callback(give_up)
        if again is not None:
            again.cancel()
        for _ in range(cancels):
            task.uncancel()


def being_cancelled() -> bool:
    """Whether somebody has asked the current task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
