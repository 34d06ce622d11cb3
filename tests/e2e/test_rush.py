"""Many background runs at once, with `TREADLE_RUSH_SECS`: all of them are told to the workers. No scheduler would."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.steps import new_thread
from tests.stack import Service, running_stack

pytestmark = pytest.mark.timeout(120)
CLIENTS = 64
# Longer than the test may take: what ends a rush is that it is over.
RUSH_SECS = "300"


async def asked_for(api: Service) -> list[tuple[str, str]]:
    """Thread and run of many requests at the same time."""
    threads = await asyncio.gather(*(new_thread(api.client) for _ in range(CLIENTS)))
    runs = await asyncio.gather(
        *(api.client.runs.create(thread, "steps", input={"text": "a"}) for thread in threads)
    )
    return [(run["thread_id"], run["run_id"]) for run in runs]


async def all_succeed(api: Service, asked: list[tuple[str, str]]) -> None:
    for thread, run in asked:
        await api.client.runs.join(thread, run)
        assert (await api.client.runs.get(thread, run))["status"] == "success"


async def test_all_of_a_rush_are_executed() -> None:
    async with running_stack("api", "worker", TREADLE_RUSH_SECS=RUSH_SECS) as stack:
        [api] = stack.services("api")
        await all_succeed(api, await asked_for(api))


async def test_workers_know_of_all_when_the_api_has_stopped() -> None:
    async with running_stack("api", TREADLE_RUSH_SECS=RUSH_SECS) as stack:
        [api] = stack.services("api")
        asked = await asked_for(api)
        await api.stop()
        await stack.start("api", "worker")
        await all_succeed(stack.services("api")[-1], asked)
