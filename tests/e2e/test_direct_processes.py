"""Requests over NATS at API processes that share them, start, stop, and lose the servers that they need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx
import pytest_asyncio

from tests.e2e.bus import LISTENING
from tests.e2e.direct import ASK_SECS, Bus, asking, ref
from tests.stack import Stack, running_stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair() -> AsyncGenerator[Stack]:
    """Two API processes that share the requests; each takes thirty at a time."""
    async with running_stack("api", "api", "worker", TREADLE_NATS_MAX_REQUESTS="30") as stack:
        for api in stack.services("api"):
            assert await api.logged(LISTENING)
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def pair_bus(pair: Stack) -> AsyncGenerator[Bus]:
    async with asking(pair) as bus:
        yield bus


def in_work(stats: Mapping[str, Any]) -> dict[str, int]:
    return {each["name"]: each["data"]["in_work"] for each in stats["endpoints"]}


def requests(stats: Mapping[str, Any]) -> int:
    return sum(each["num_requests"] for each in stats["endpoints"])


async def test_two_api_processes_share_the_requests(pair_bus: Bus) -> None:
    before = await pair_bus.control("STATS")
    assert len({each["id"] for each in before}) == 2
    body = {"assistant_id": "steps", "input": {"text": "a"}}
    answers = await asyncio.gather(*(pair_bus.ask("create", body) for _ in range(40)))

    after = await pair_bus.control("STATS")

    assert len({answer.json["run_id"] for answer in answers}) == 40
    was = {each["id"]: requests(each) for each in before}
    taken = [requests(each) - was[each["id"]] for each in after]
    assert sum(taken) == 40
    assert min(taken) > 0


async def test_more_requests_than_a_process_takes_are_sent_away(pair: Stack, pair_bus: Bus) -> None:
    run, waiting = await pair_bus.begun(180)
    sent_away = [
        await answered for _, answered in zip(range(120), asyncio.as_completed(waiting), strict=False)
    ]

    problems = [answer.json for answer in sent_away]
    assert {(problem["code"], problem["error"]) for problem in problems} == {(503, "Unavailable")}
    assert "at work on 30 requests" in problems[0]["detail"]
    assert [in_work(each)["runs-join"] for each in await pair_bus.control("STATS")] == [30, 30]

    # HTTP has room.
    await pair.services("api")[0].client.runs.cancel(run["thread_id"], run["run_id"])
    answers = await asyncio.gather(*waiting)
    assert [answer.code for answer in answers].count(None) == 60


async def test_who_waits_at_a_process_that_stops_is_sent_on(pair: Stack, pair_bus: Bus) -> None:
    others = {each["id"] for each in await pair_bus.control("PING")}
    third = await pair.api()
    assert await third.logged(LISTENING)
    run, waiting = await pair_bus.begun(30)
    held = {each["id"]: in_work(each)["runs-join"] for each in await pair_bus.control("STATS")}
    assert sum(held.values()) == 30
    [leaving] = held.keys() - others

    assert await third.stop() == 0

    ended = zip(range(held[leaving]), asyncio.as_completed(waiting), strict=False)
    problems = [(await answer).json for _, answer in ended]
    assert {(problem["code"], problem["error"]) for problem in problems} == {(503, "Unavailable")}
    assert {problem["run_id"] for problem in problems} == {run["run_id"]}
    assert "ask again with join" in problems[0]["detail"]
    again = [asyncio.create_task(pair_bus.ask("join", ref(run))) for _ in problems]
    await pair_bus.done("cancel", ref(run))
    answers = await asyncio.gather(*again, *waiting)
    assert [answer.code for answer in answers].count(None) == 30


async def test_the_service_is_back_when_nats_is(pair: Stack, pair_bus: Bus) -> None:
    apis = [api for api in pair.services("api") if api.running]
    await pair.servers.nats.stop()
    await pair.servers.nats.start()
    for api in apis:
        assert await api.logged("connection to NATS is back")

    assert len({each["id"] for each in await pair_bus.control("PING")}) == len(apis)
    body = {"assistant_id": "steps", "input": {"text": "a"}}
    assert (await pair_bus.done("wait", body))["text"] == "A!"


async def test_without_postgres_requests_are_refused_as_over_http(pair: Stack, pair_bus: Bus) -> None:
    body = {"assistant_id": "steps", "input": {"text": "a"}}
    await pair.servers.postgres.stop()
    try:
        problem = await pair_bus.refused("create", body)
        async with httpx.AsyncClient(base_url=pair.services("api")[0].url, timeout=ASK_SECS) as http:
            theirs = await http.post("/runs", json=body)
    finally:
        await pair.servers.postgres.start()
    assert (problem["code"], problem["error"]) == (503, "Unavailable")
    assert theirs.status_code == 503
    assert problem["detail"].startswith("Postgres could not be reached while creating a run")
    assert (await pair_bus.done("create", body))["status"] == "pending"


async def test_a_defect_shows_its_traceback_in_the_log_only(pair: Stack, pair_bus: Bus) -> None:
    """Of a table that only requests look into: a defect in what a process does by itself would end the process."""
    async with pair.database() as postgres:
        await postgres.execute("alter table treadle.assistant rename to assistant_elsewhere")
        try:
            problem = await pair_bus.refused("create", {"assistant_id": "steps", "input": {"text": "a"}})
        finally:
            await postgres.execute("alter table treadle.assistant_elsewhere rename to assistant")
    assert (problem["code"], problem["error"]) == (500, "InternalServerError")
    assert problem["detail"] == "Internal server error; the server's log says more."
    logs = "\n".join(api.text for api in pair.services("api"))
    assert "runs.create over NATS failed" in logs
    assert "UndefinedTableError" in logs


async def test_an_api_that_is_told_so_answers_over_http_only(pair: Stack, pair_bus: Bus) -> None:
    silent = await pair.api(TREADLE_NATS_API="off")
    async with httpx.AsyncClient(base_url=silent.url) as http:
        assert (await http.get("/ok")).status_code == 200
    assert await silent.stop() == 0
    assert LISTENING not in silent.text
