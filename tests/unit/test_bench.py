"""How the benchmark judges what it has measured, and reads what is streamed to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from bench.goals import judge
from bench.load import Client, Figures, open_clients
from bench.record import Measured, Played, Times, Verdict

TIMES = Times(new_dir=[3.0, 4.0], old_dir=[2.0, 6.0], stop=[1.0, 1.0])


def verdicts(treadle: Played, bare: Played | None = None) -> dict[str, Verdict]:
    judged = judge(Measured(TIMES, bare or Played(), treadle, Played()))
    return {verdict.goal: verdict for verdict in judged}


def waits(*p50: float) -> Played:
    rounds: list[Figures] = [{"p50_ms": value, "runs_per_s": 1.0} for value in p50]
    return Played(figures={"single_wait": rounds})


def test_a_figure_is_judged_by_the_median_of_the_rounds() -> None:
    judged = verdicts(waits(14.0, 15.0, 90.0), waits(9.0))
    assert judged["single_wait p50 at most 15 ms"].met
    assert not verdicts(waits(14.0, 15.1, 90.0), waits(9.0))["single_wait p50 at most 15 ms"].met


def test_a_figure_may_be_so_many_times_that_of_bare_langgraph() -> None:
    goal = "single_wait p50 at most 2 x bare"
    assert verdicts(waits(14.0), waits(7.0))[goal].met
    missed = verdicts(waits(14.0), waits(6.0))[goal]
    assert (missed.met, missed.measured) == (False, "2.33 x")


def test_a_scenario_that_failed_misses_its_goals() -> None:
    judged = verdicts(Played(failures={"chain": "refused"}))
    assert (judged["chain runs at least 80 /s"].measured, judged["no scenario fails"].met) == (
        "failed",
        False,
    )


def test_without_a_floor_what_is_compared_with_it_has_failed() -> None:
    judged = verdicts(waits(14.0), Played(failures={"single_wait": "gone"}))
    assert judged["single_wait p50 at most 15 ms"].met
    assert not judged["single_wait p50 at most 2 x bare"].met


def test_what_was_not_measured_is_not_judged() -> None:
    assert not [goal for goal in verdicts(waits(14.0), waits(9.0)) if goal.startswith("burst")]


def test_starts_are_judged_by_the_worst() -> None:
    assert not verdicts(Played())["ready on an old data directory in under 5 s"].met


@asynccontextmanager
async def telling(*chunks: bytes) -> AsyncGenerator[Client]:
    """A client of a server that answers with these pieces, one after the other."""

    async def tell(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.01)
        return response

    app = web.Application()
    app.router.add_post("/stream", tell)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with open_clients([f"http://127.0.0.1:{runner.addresses[0][1]}"], headers={}) as [client]:
            yield client
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_events_are_read_however_they_are_cut_into_pieces(end: bytes) -> None:
    text = b"event: custom\ndata: 1\ndata: 2\nid: 1-1\n\n: alive\n\ndata: 3\n\n".replace(b"\n", end)
    pieces = [text[start : start + 5] for start in range(0, len(text), 5)]
    async with telling(*pieces) as client:
        events = [(event, data) async for _, event, data in client.events("/stream", {})]
    assert events == [("custom", "1\n2"), ("message", "3")]
