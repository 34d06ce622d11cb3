"""The duty that removes what is over: in bounded batches, until little is left, and never without an advance."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from treadle_scheduler.removal import Removal


@dataclass
class Pile:
    """What is to be removed, and how much of it one statement can take in its time."""

    left: int
    most: int = 1_000
    asked: list[int] = field(default_factory=list[int])

    async def take(self, limit: int) -> int:
        self.asked.append(limit)
        await asyncio.sleep(0)
        if min(limit, self.left) > self.most:
            raise TimeoutError
        gone = min(limit, self.left)
        self.left -= gone
        return gone

    def duty(self, batch: int) -> Removal:
        return Removal("forget", self.take, 10, batch)


@pytest.mark.parametrize(("left", "batches"), [(0, 1), (9, 1), (10, 2), (25, 3)])
async def test_a_round_removes_batch_after_batch_until_less_than_one_is_left(left: int, batches: int) -> None:
    pile = Pile(left)
    assert await pile.duty(10).round() == left
    assert pile.asked == [10] * batches


async def test_a_batch_that_takes_too_long_is_halved_until_it_advances() -> None:
    pile = Pile(7, most=2)
    assert await pile.duty(10).round() == 7
    assert pile.asked == [10, 5, 2, 2, 2, 2]


async def test_one_thing_that_cannot_be_removed_in_time_is_left_to_the_next_round() -> None:
    with pytest.raises(TimeoutError):
        await Pile(1, most=0).duty(4).round()


async def test_a_round_can_be_cancelled_between_batches() -> None:
    pile = Pile(1_000)
    task = asyncio.create_task(pile.duty(1).round())
    while len(pile.asked) < 3:  # noqa: ASYNC110 - each turn of the loop is one batch
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pile.left >= 990
