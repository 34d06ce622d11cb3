"""What arrives together is done together, and yet everybody has a result, or an error, of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from treadle.coalescing import Coalescer
from treadle.errors import Unavailable


class Squares:
    """Squares numbers, as many at a time as it is given; waits while it is held."""

    def __init__(self) -> None:
        self.flights: list[list[int]] = []
        self.begun = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    async def __call__(self, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.flights.append(list(numbers))
        self.begun.set()
        await self.free.wait()
        if 13 in numbers:
            raise ValueError("13")
        if 0 in numbers:
            raise Unavailable("away")
        return [KeyError(number) if number < 0 else number * number for number in numbers]


def coalescer(squares: Squares, *, most: int = 100, long_secs: float = 60) -> Coalescer[int, int]:
    return Coalescer("squares", squares, most=most, long_secs=long_secs)


async def held(squares: Squares, square: Coalescer[int, int]) -> asyncio.Task[int]:
    """A first flight, of the number 1, that is under way."""
    squares.free.clear()
    first = asyncio.create_task(square(1))
    await squares.begun.wait()
    return first


async def test_what_comes_together_goes_together() -> None:
    squares = Squares()
    square = coalescer(squares)

    assert await asyncio.gather(*map(square, range(1, 6))) == [1, 4, 9, 16, 25]
    assert squares.flights == [[1, 2, 3, 4, 5]]


async def test_what_comes_during_a_flight_goes_with_the_next() -> None:
    squares = Squares()
    square = coalescer(squares)
    first = await held(squares, square)

    others = asyncio.gather(square(2), square(3))
    await asyncio.sleep(0)
    assert squares.flights == [[1]]
    squares.free.set()

    assert [await first, *await others] == [1, 4, 9]
    assert squares.flights == [[1], [2, 3]]


async def test_no_flight_has_more_than_its_most() -> None:
    squares = Squares()

    assert await asyncio.gather(*map(coalescer(squares, most=2), range(1, 6))) == [1, 4, 9, 16, 25]
    assert squares.flights == [[1, 2], [3, 4], [5]]


async def test_a_flight_that_takes_long_holds_up_nobody() -> None:
    squares = Squares()
    square = coalescer(squares, long_secs=0.01)
    first = await held(squares, square)

    second = asyncio.create_task(square(2))
    async with asyncio.timeout(5):
        while len(squares.flights) < 2:  # noqa: ASYNC110 - nothing tells of it but the flights themselves
            await asyncio.sleep(0.005)
    squares.free.set()

    assert [await first, await second] == [1, 4]


async def test_an_error_in_the_place_of_a_result_is_that_items_alone() -> None:
    results = await asyncio.gather(*map(coalescer(Squares()), [2, -1, 3]), return_exceptions=True)

    assert results[::2] == [4, 9]
    assert isinstance(results[1], KeyError)


async def test_a_flight_that_fails_for_one_is_repeated_for_each() -> None:
    squares = Squares()

    results = await asyncio.gather(*map(coalescer(squares), [2, 13, 3]), return_exceptions=True)

    assert results[::2] == [4, 9]
    assert isinstance(results[1], ValueError)
    assert squares.flights == [[2, 13, 3], [2], [13], [3]]


async def test_what_is_away_is_away_for_all_and_not_asked_again() -> None:
    squares = Squares()
    square = coalescer(squares)

    results = await asyncio.gather(*map(square, [2, 0, 3]), return_exceptions=True)

    assert all(isinstance(result, Unavailable) for result in results)
    assert squares.flights == [[2, 0, 3]]
    assert await square(2) == 4


async def test_one_who_gives_up_before_the_flight_does_not_go_along() -> None:
    squares = Squares()
    square = coalescer(squares)
    first = await held(squares, square)
    gives_up, stays = asyncio.create_task(square(2)), asyncio.create_task(square(3))
    await asyncio.sleep(0)

    gives_up.cancel()
    squares.free.set()

    assert [await first, await stays] == [1, 9]
    assert squares.flights == [[1], [3]]


async def test_one_who_gives_up_during_the_flight_disturbs_no_other() -> None:
    squares = Squares()
    square = coalescer(squares)
    squares.free.clear()
    gives_up, stays = asyncio.create_task(square(2)), asyncio.create_task(square(3))
    await squares.begun.wait()

    gives_up.cancel()
    await asyncio.sleep(0)
    squares.free.set()

    assert await stays == 9
    with pytest.raises(asyncio.CancelledError):
        await gives_up
    assert squares.flights == [[2, 3]]
