"""Waiting for servers, and giving up what may wait for long."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest

from treadle import patience
from treadle.errors import Unavailable
from treadle.patience import OK, Reminder, patiently, unless


async def for_ever(forgetting: int = 0) -> str:
    """Waits, and forgets so many cancels, as a client does that was told as its connecting failed."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not forgetting:
                raise
            forgetting -= 1


async def told() -> str:
    return "done"


@pytest.mark.parametrize("forgetting", [0, 1, 2])
async def test_what_waits_is_given_up_even_if_it_forgets_that_it_was_told(forgetting: int) -> None:
    stop = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(unless(stop, for_ever(forgetting)))
    await asyncio.sleep(0)
    stop.set_result(None)
    async with asyncio.timeout(10):
        assert await waiting is None


async def test_what_is_given_up_leaves_the_task_uncancelled() -> None:
    stop = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(stop.set_result, None)
    assert await unless(stop, for_ever()) is None
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_is_done_in_time_is_what_it_gives() -> None:
    assert await unless(asyncio.get_running_loop().create_future(), told()) == "done"


async def test_a_cancel_from_elsewhere_is_one() -> None:
    stop = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(unless(stop, for_ever()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_cancel_from_elsewhere_is_one_also_while_it_gives_up() -> None:
    stop = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(unless(stop, for_ever()))
    await asyncio.sleep(0)
    stop.set_result(None)
    await asyncio.sleep(0)  # the callback of `stop` has run
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_pauses_grow_up_to_the_longest_and_whoever_waits_is_told_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twelve pauses of which each is twice the one before would last for minutes."""
    monkeypatch.setattr(patience, "FIRST_SECS", 0.05)
    monkeypatch.setattr(patience, "LONGEST_SECS", 0.2)
    tried: list[float] = []
    told: list[str] = []

    async def attempt() -> str:
        tried.append(time.monotonic())
        if len(tried) <= 12:
            raise Unavailable(f"away {len(tried)}")
        return "there"

    async with asyncio.timeout(30):
        assert await patiently("a server", attempt, told.append) == "there"

    pauses = [after - before for before, after in pairwise(tried)]
    least = [0.025, 0.05, *[0.1] * 10]  # half of each is at random
    assert all(pause >= secs * 0.9 for pause, secs in zip(pauses, least, strict=True)), pauses
    assert told == [*(f"away {n}" for n in range(1, 13)), OK]


async def test_many_who_wait_for_the_same_say_so_once(caplog: pytest.LogCaptureFixture) -> None:
    reminder, waiting = Reminder("Postgres"), 0

    async def attempt() -> None:
        nonlocal waiting
        waiting += 1
        if waiting <= 20:
            raise Unavailable("Postgres could not be reached")

    with caplog.at_level("WARNING"):
        await asyncio.gather(*(patiently(reminder, attempt) for _ in range(20)))
    assert [record.message for record in caplog.records] == [
        "waiting for Postgres: Postgres could not be reached"
    ]
