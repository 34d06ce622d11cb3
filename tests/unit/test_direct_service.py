"""What the service on NATS says of itself, and how it holds answers."""

from __future__ import annotations

import asyncio

import pytest
from nats.micro.service import SEMVER_REGEX

from treadle.errors import StillRunning, Unavailable
from treadle_api.bus.front import semantic
from treadle_api.bus.holding import Holding


@pytest.mark.parametrize(
    ("python", "version"),
    [
        ("0.1.0", "0.1.0"),
        ("1.2", "1.2.0"),
        ("0.2.0rc1", "0.2.0-rc1"),
        ("0.2.0.dev3+g12ab", "0.2.0-dev3"),
        ("1.0.0.post1", "1.0.0-post1"),
    ],
)
def test_the_version_is_one_that_the_framework_takes(python: str, version: str) -> None:
    assert semantic(python) == version
    assert SEMVER_REGEX.match(version)


async def soon() -> str:
    await asyncio.sleep(0)
    return "result"


async def never() -> str:
    await asyncio.Event().wait()
    return "never"


async def test_an_answer_is_held_for_as_long_as_was_wished() -> None:
    holding = Holding(60)
    assert await holding.result(soon(), None) == "result"
    with pytest.raises(StillRunning, match=r"after 0\.01 seconds"):
        await holding.result(never(), 0.01)


async def test_no_answer_is_held_longer_than_the_server_allows() -> None:
    with pytest.raises(StillRunning, match=r"after 0\.01 seconds"):
        await Holding(0.01).result(never(), 3600)


async def test_all_who_wait_are_answered_when_the_process_stops() -> None:
    holding, all_wait = Holding(60), asyncio.Barrier(4)

    async def waited_for() -> str:
        await all_wait.wait()
        return await never()

    waiting = [asyncio.create_task(holding.result(waited_for(), None)) for _ in range(3)]
    await all_wait.wait()
    holding.close()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(answer) for answer in answers} == {Unavailable}
