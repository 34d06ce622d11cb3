"""When workers are told of background runs while many are asked for at once."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from uuid import UUID, uuid4

import pytest

from treadle.db.new_run import NewRun
from treadle.messaging.wakeups import Waiting
from treadle.operations import rush as module
from treadle.operations.rush import CROWD, Rush

FOR_EVER = 3600
who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Workers:
    """Are told of runs."""

    def __init__(self) -> None:
        self.told: list[UUID] = []
        self.by: list[str] = []
        self.woken = asyncio.Event()

    async def wake(self, run: Waiting) -> None:
        await asyncio.sleep(0)
        self.told.append(run.run_id)
        self.by.append(who.get())
        self.woken.set()


@pytest.fixture
def workers() -> Workers:
    return Workers()


def run() -> NewRun:
    return NewRun(
        run_id=uuid4(), thread_id=uuid4(), assistant_id=uuid4(), graph_id="echo", kwargs={}, metadata={}
    )


@contextmanager
def crowd(rush: Rush, size: int = CROWD) -> Generator[None]:
    """So many requests that are being accepted."""
    with ExitStack() as stack:
        for _ in range(size):
            stack.enter_context(rush.accepting())
        yield


async def test_without_a_rush_workers_are_told_at_once(workers: Workers) -> None:
    async with Rush(workers.wake, FOR_EVER) as rush:
        with crowd(rush, CROWD - 1):
            await rush.wake(one := run())
            assert workers.told == [one.run_id]


async def test_in_a_rush_they_are_told_when_it_is_over(workers: Workers) -> None:
    runs = [run() for _ in range(3)]
    async with Rush(workers.wake, FOR_EVER) as rush:
        with crowd(rush):
            for each in runs[:2]:
                await rush.wake(each)
        await rush.wake(runs[2])  # it is not over yet, and nobody overtakes those who wait
        assert workers.told == []
        await asyncio.wait_for(workers.woken.wait(), 5)
        await rush.wake(late := run())
        assert workers.told == [each.run_id for each in [*runs, late]]


async def test_a_rush_that_goes_on_is_waited_for_no_longer_than_was_said(workers: Workers) -> None:
    async with Rush(workers.wake, 0.05) as rush:
        with crowd(rush):
            await rush.wake(one := run())
            assert workers.told == []
            await asyncio.wait_for(workers.woken.wait(), 5)
            assert workers.told == [one.run_id]


async def test_a_rush_that_comes_back_is_waited_for_again(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALM_SECS", FOR_EVER)
    async with Rush(workers.wake, 0.05) as rush:
        with crowd(rush):
            await rush.wake(one := run())
        with crowd(rush):
            monkeypatch.setattr(module, "CALM_SECS", 0)
            await asyncio.wait_for(workers.woken.wait(), 5)
        assert workers.told == [one.run_id]


async def test_nobody_waits_where_it_is_not_wanted(workers: Workers) -> None:
    async with Rush(workers.wake, 0) as rush:
        with crowd(rush):
            await rush.wake(one := run())
            assert workers.told == [one.run_id]


async def test_those_who_still_wait_at_the_end_are_told(workers: Workers) -> None:
    runs = [run() for _ in range(100)]
    async with Rush(workers.wake, FOR_EVER) as rush:
        with crowd(rush):
            for each in runs:
                await rush.wake(each)
    assert workers.told == [each.run_id for each in runs]


async def test_more_than_memory_is_for_do_not_wait(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    async with Rush(workers.wake, FOR_EVER) as rush:
        with crowd(rush):
            await rush.wake(run())
            assert workers.told == []
            await rush.wake(run())
            await asyncio.wait_for(workers.woken.wait(), 5)


async def test_each_wake_up_is_of_the_request_that_it_came_with(workers: Workers) -> None:
    async with Rush(workers.wake, FOR_EVER) as rush:
        with crowd(rush):
            for name in ("one", "other"):
                token = who.set(name)
                await rush.wake(run())
                who.reset(token)
    assert workers.by == ["one", "other"]
