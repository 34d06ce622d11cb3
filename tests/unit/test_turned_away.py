"""A run whose nodes find something away goes back, and does not wait or repeat itself for ever."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from treadle import json
from treadle.checkpoint.reaching import persisting
from treadle.errors import Unavailable
from treadle.model import Run
from treadle_worker import turned_away
from treadle_worker.active import ActiveRun, Stop
from treadle_worker.attempt import Attempt
from treadle_worker.endings import Ended, HandedBack
from treadle_worker.execution import READ_SECS, Executor
from treadle_worker.turned_away import MOST_TIMES, TurnedAway

LONGEST_SECS = 10


async def away(*_: object) -> Any:
    raise Unavailable("it is away")


class Place:
    """An executor of graphs for which something is away, as it stands with Postgres and with what the graph has kept.

    It is its own keeper of leases and its own saver.
    """

    def __init__(self) -> None:
        self.checkpoint: str | None = "1"
        self.heartbeats = True
        self.leased = True
        self.executor = Executor(cast(Any, SimpleNamespace(leases=self, savers=SimpleNamespace(shared=self))))
        cast(Any, self.executor)._in_graph = away
        self.active = ActiveRun(cast(Run, SimpleNamespace(run_id=uuid4(), thread_id=uuid4(), attempt=1)))

    def reached_since(self, _: float) -> bool:
        return self.heartbeats

    def valid(self, _: ActiveRun) -> bool:
        return self.leased

    async def aget_tuple(self, _: object) -> Any:
        return None if self.checkpoint is None else SimpleNamespace(checkpoint={"id": self.checkpoint})

    async def attempt(self) -> Any:
        writer = SimpleNamespace(write=str.format)
        return await cast(Any, self.executor)._guarded(self.active, writer, None)

    def holds(self) -> bool:
        return cast(Any, self.executor)._holds(self.active)


async def test_a_run_that_finds_something_away_again_and_again_ends_and_says_so() -> None:
    place = Place()
    for times in range(1, MOST_TIMES):
        assert await place.attempt() == HandedBack(times)
    ended = await place.attempt()
    assert isinstance(ended, Ended)
    assert ended.outcome.status == "error"
    error = json.decode(ended.outcome.error or b"")
    assert error["error"] == "Unavailable"
    assert "it is away" in error["message"]
    assert f"{MOST_TIMES} attempts in a row" in error["message"]


async def test_one_that_gets_further_in_between_goes_on() -> None:
    place = Place()
    for times in range(3 * MOST_TIMES):
        place.checkpoint = str(times // 2)
        assert isinstance(await place.attempt(), HandedBack)


async def test_nor_is_it_held_against_a_run_that_postgres_is_away() -> None:
    place = Place()
    place.heartbeats = False
    for _ in range(2 * MOST_TIMES):
        assert await place.attempt() == HandedBack()


def test_no_more_runs_than_so_many_are_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turned_away, "MOST_RUNS", 2)
    kept = TurnedAway()
    for number in (1, 2, 3):
        assert kept.again(UUID(int=number), None) == 1
    assert kept.again(UUID(int=3), None) == 2
    assert kept.again(UUID(int=1), None) == 1


@pytest.mark.parametrize("stop", ["drain", "lost", "all", "lease", "read"])
async def test_what_waits_for_postgres_outside_of_the_graph_can_be_stopped(stop: str) -> None:
    place = Place()
    reading = asyncio.create_task(persisting(away, place.holds))
    await asyncio.sleep(0)
    assert place.holds()
    match stop:
        case "all":
            place.executor.hand_back()
        case "lease":
            place.leased = False
        case "read":
            place.active.over_at = time.monotonic() - READ_SECS
        case reason:
            place.active.stop(Stop(reason))
    with pytest.raises(Unavailable):
        async with asyncio.timeout(LONGEST_SECS):
            await reading


async def test_a_run_that_has_had_its_time_ends_though_what_it_left_cannot_be_read() -> None:
    attempt = cast(Attempt, SimpleNamespace(stopped=away))
    outcome = await cast(Any, Place().executor)._timed_out(attempt, {"error": "RunTimeout"})
    assert (outcome.status, outcome.values) == ("timeout", None)
    assert json.decode(outcome.error) == {"error": "RunTimeout"}
