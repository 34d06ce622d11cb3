"""Clients that race each other and the workers: one answer acts once, a cancel that was accepted decides, over real services."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError

from tests.e2e.steps import join, new_thread, values, wait
from tests.marking import marked
from tests.stack import Stack, marks, running_stack
from treadle.streaming import connect

# `make test` has to be quick; as many as one likes else.
TRIES = int(os.environ.get("CHAOS_TRIES", "10"))
NOT_FOUND = 404
Strategy = Literal["enqueue", "reject", "interrupt", "rollback"]


@pytest.fixture(scope="module")
async def stack() -> AsyncGenerator[Stack]:
    """Two of each that clients and runs can choose between."""
    settings = {"N_JOBS_PER_WORKER": "26", "TREADLE_LEASE_SECS": "15"}
    async with running_stack("api", "worker", **settings) as stack:
        await stack.start("api", "worker", "scheduler")
        yield stack


async def test_one_answer_sent_twice_acts_once_whatever_the_strategy(stack: Stack) -> None:
    """Two clients, two API processes, a graph that asks twice: the first question is answered, and the second one waits."""
    chance = random.Random()
    clients = [api.client for api in stack.services("api")]
    for strategy in ("enqueue", "reject"):
        # One that comes when the other's run has ended answers what is asked then, and the race is run again.
        races = [await raced(clients, strategy)]
        while races[-1] == 2 and len(races) < 5:
            races.append(await raced(clients, strategy))
        assert races[-1] == 1, f"{strategy}: {races} of 2 answers to one question were accepted"
    for strategy in ("rollback", "interrupt"):
        await raced(clients, strategy)
    told = Counter[str]()
    for _ in range(TRIES):
        thread = await new_thread(clients[0])
        await wait(clients[0], thread, "approval", input={"text": "t"})
        told += Counter(await both(clients, thread, chance))
        assert (await values(clients[0], thread))["text"] == "t:yes"
        assert (await values(clients[0], thread))["steps"] == ["ask", "after"]
    assert told["accepted"] >= TRIES


async def raced(clients: list[LangGraphClient], strategy: Strategy) -> int:
    """Two answers at once, of which those that acted did so on a question each; how many were accepted."""
    thread = await new_thread(clients[0])
    await wait(clients[0], thread, "interview", input={})
    told = await asyncio.gather(*(answered(client, thread, strategy) for client in clients))
    await settled(clients[0], thread)
    accepted = told.count("accepted")
    ended = [run["status"] for run in await clients[0].runs.list(thread)]
    acted = ended.count("success") - 1  # the first run has asked
    state = await clients[0].threads.get_state(thread)
    assert acted == accepted or (strategy in ("rollback", "interrupt") and (acted, accepted) == (1, 2))
    assert asked(state) == (["how old are you, Ada?"] if acted == 1 else [])
    return accepted


async def both(clients: list[LangGraphClient], thread: str, chance: random.Random) -> list[str]:
    async def late(client: LangGraphClient) -> str:
        await asyncio.sleep(chance.uniform(0, 0.02))
        return await answered(client, thread, "enqueue", graph="approval", answer="yes")

    told = await asyncio.gather(*(late(client) for client in clients))
    await settled(clients[0], thread)
    return list(told)


async def answered(
    client: LangGraphClient, thread: str, strategy: Strategy, graph: str = "interview", answer: Any = "Ada"
) -> str:
    try:
        await client.runs.create(thread, graph, command={"resume": answer}, multitask_strategy=strategy)
    except ConflictError:
        return "refused"
    return "accepted"


async def settled(client: LangGraphClient, thread: str) -> None:
    for run in await client.runs.list(thread):
        try:
            await join(client, thread, run)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != NOT_FOUND:  # it was rolled back meanwhile
                raise


def asked(state: Any) -> list[Any]:
    return [interrupt["value"] for task in state["tasks"] for interrupt in task["interrupts"]]


async def test_cancels_at_random_moments_are_never_lost(stack: Stack) -> None:
    """Runs that are cancelled in their first moments: 2xx decides how they end, 404 says that they had ended."""
    chance = random.Random()
    client = stack.services("api")[0].client
    told: Counter[str] = Counter()
    for _ in range(TRIES):
        told += Counter(await asyncio.gather(*(one_cancel(client, chance) for _ in range(6))))
    assert told.total() == 6 * TRIES
    assert told["cancelled"] > 0


async def one_cancel(client: LangGraphClient, chance: random.Random) -> str:
    thread, action = await new_thread(client), chance.choice(["interrupt", "rollback"])
    run = await client.runs.create(thread, "slow", input={"delay": chance.choice([0.01, 60])})
    await asyncio.sleep(chance.uniform(0, 0.15))
    try:
        await client.runs.cancel(thread, run["run_id"], action=cast(Any, action), wait=True)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != NOT_FOUND:
            raise
        assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"
        return "had ended"
    if action == "rollback":
        with pytest.raises(NotFoundError):
            await client.runs.get(thread, run["run_id"])
    else:
        assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"
    return "cancelled"


async def test_a_flushed_redis_ends_no_run_and_doubles_none(stack: Stack, tmp_path: Path) -> None:
    """Fifty runs are on and watched: none is taken for dead, all streams end, and cancels still work."""
    log, gate = tmp_path / "marks", tmp_path / "gate"
    client = stack.services("api")[0].client
    runs: list[tuple[str, Any]] = []
    for n in range(50):
        thread = await new_thread(client)
        given = {"log": str(log), "label": f"run{n}", "gate": str(gate)}
        runs.append((thread, await client.runs.create(thread, "three_steps", input=given)))
    await marked(log, "dwell", 50, secs=60)
    watching = [asyncio.create_task(watched(client, *each)) for each in runs]
    await flush(stack)
    for thread, run in runs[:2]:
        await client.runs.cancel(thread, run["run_id"], wait=True)
    gate.touch()
    async with asyncio.timeout(60):
        told = await asyncio.gather(*watching)
    ended = [(await client.runs.get(thread, run["run_id"]))["status"] for thread, run in runs]
    async with stack.database() as database:
        attempts = await database.fetchval(
            "select max(attempt) from treadle.run where graph_id = 'three_steps'"
        )
    assert ended == ["interrupted"] * 2 + ["success"] * 48
    assert attempts == 1
    assert Counter(what for what, _, _ in marks(log)) == {"prepare": 50, "dwell": 50, "conclude": 48}
    assert [last["done"] for last in told[2:]] == [["prepare", "dwell", "conclude"]] * 48


async def watched(client: LangGraphClient, thread: str, run: Any) -> Any:
    """The last values that a stream told, which ends by itself."""
    last: Any = None
    async for part in client.runs.join_stream(thread, run["run_id"]):
        last = cast(Any, part.data) if part.event == "values" else last
    return last


async def flush(stack: Stack) -> None:
    redis = connect(stack.servers.valkey.url)
    await redis.flushall()
    await redis.aclose()
