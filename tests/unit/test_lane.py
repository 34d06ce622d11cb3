"""What goes along a lane: everything, in its order, together with what comes in the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from treadle.checkpoint.lane import Lane


class Writer:
    """Takes down what it is given, and may be held up or broken."""

    def __init__(self) -> None:
        self.together: list[Sequence[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.failure: Exception | None = None
        self.most = 100

    async def write(self, items: Sequence[int]) -> int:
        self.begun.set()
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        self.together.append(items[: self.most])
        return len(self.together[-1])


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def lane(writer: Writer) -> Lane[int]:
    return Lane(writer.write, "lane")


async def test_what_comes_in_one_moment_is_written_together(writer: Writer, lane: Lane[int]) -> None:
    for number in range(3):
        lane.add(number)
    await lane.written()

    assert writer.together == [(0, 1, 2)]


async def test_it_is_written_though_nobody_waits(writer: Writer, lane: Lane[int]) -> None:
    lane.add(1)
    await asyncio.wait_for(writer.begun.wait(), 5)
    await lane.written()

    assert writer.together == [(1,)]


async def test_what_comes_while_something_is_written_goes_next(writer: Writer, lane: Lane[int]) -> None:
    writer.open.clear()
    lane.add(1)
    waiting = asyncio.create_task(lane.written())
    await writer.begun.wait()
    lane.add(2)
    lane.add(3)
    writer.open.set()
    await waiting

    assert writer.together == [(1,), (2, 3)]


async def test_what_a_write_leaves_over_is_written_next(writer: Writer, lane: Lane[int]) -> None:
    writer.most = 2
    for number in range(5):
        lane.add(number)
    await lane.written()

    assert writer.together == [(0, 1), (2, 3), (4,)]


async def test_a_failure_is_told_to_all_who_wait_and_to_all_who_come(writer: Writer, lane: Lane[int]) -> None:
    writer.failure = ArithmeticError()
    lane.add(1)
    waiting = [asyncio.create_task(lane.written()) for _ in range(2)]
    done, _ = await asyncio.wait(waiting)
    assert [type(task.exception()) for task in done] == [ArithmeticError] * 2

    writer.failure = None
    with pytest.raises(ArithmeticError):
        lane.add(2)
    with pytest.raises(ArithmeticError):
        await lane.written()
    assert writer.together == []


async def test_whoever_waits_may_be_cancelled_and_it_is_written_all_the_same(
    writer: Writer, lane: Lane[int]
) -> None:
    writer.open.clear()
    lane.add(1)
    waiting = asyncio.create_task(lane.written())
    await writer.begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    writer.open.set()
    await lane.written()

    assert writer.together == [(1,)]


async def test_nothing_to_write_is_nothing_to_wait_for(writer: Writer, lane: Lane[int]) -> None:
    await lane.written()

    assert writer.together == []
