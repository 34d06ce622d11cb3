"""The drain is begun from wherever it has to be, and waits for every slot."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from treadle.telemetry.logs import bind
from treadle_worker.alone import heed
from treadle_worker.drain import LAST_STEP_SECS, Drain
from treadle_worker.execution import Executor
from treadle_worker.lifeline import DRAIN, HASTEN, ChildEnd
from treadle_worker.threads import Threads

GRACE_SECS = 3600.0
LONGEST_SECS = 10


class Line(ChildEnd):
    """A line whose words a test says, on another thread than the loop's, as those of the worker come."""

    def __init__(self) -> None:
        self.on_word: Callable[[bytes], None] = print

    def listen(self, on_word: Callable[[bytes], None]) -> None:
        self.on_word = on_word

    def say(self, word: bytes) -> None:
        """The loop is blocked until the word has been heard."""
        thread = threading.Thread(target=self.on_word, args=(word,))
        thread.start()
        thread.join()


async def test_the_time_of_a_drain_runs_while_the_loop_of_a_solitary_attempt_is_blocked() -> None:
    line, drain = Line(), Drain(GRACE_SECS)
    heed(line, drain)
    line.say(DRAIN)
    assert not drain.started.is_set()
    assert drain.over_at is not None
    assert drain.over_at > time.monotonic() + GRACE_SECS
    line.say(HASTEN)
    assert not drain.hastened.is_set()
    assert drain.over_at <= time.monotonic() + LAST_STEP_SECS
    over_at = drain.over_at
    async with asyncio.timeout(LONGEST_SECS):
        await drain.hastened.wait()
    assert drain.started.is_set()
    assert drain.over_at == over_at


async def test_a_worker_that_winds_down_by_itself_has_the_same_time() -> None:
    drain = Drain(GRACE_SECS)
    drain.begin()
    assert drain.over_at is not None


async def test_a_slot_that_ends_early_does_not_keep_the_others_from_handing_back() -> None:
    drain, told = Drain(0), asyncio.Event()
    executor = cast(Executor, SimpleNamespace(active=frozenset(), hand_back=told.set))
    slots = [asyncio.create_task(told.wait()), asyncio.create_task(asyncio.sleep(LONGEST_SECS))]
    slots[1].cancel()
    async with asyncio.timeout(LONGEST_SECS):
        await drain.finish(executor, cast(Any, slots))
    assert slots[0].done()
    assert not slots[0].cancelled()


def test_a_thread_of_a_newer_attempt_is_not_left_behind_with_the_one_before() -> None:
    gate, threads = threading.Event(), Threads(1)
    for attempt in (1, 2):
        with bind(run_id="run", attempt=attempt):
            threads.submit(gate.wait, LONGEST_SECS)
    assert threads.leave_behind("run", 1) == 1
    assert threads.left_behind() == 1
    gate.set()
    threads.shutdown()
    assert threads.left_behind() == 0
