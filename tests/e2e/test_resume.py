"""A stream that is cut off and resumed delivers every published event once, in order, even when its worker dies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest_asyncio
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Run, StreamPart
from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]

from tests.e2e.cutter import Cutter
from tests.e2e.steps import join, leave, new_thread, wait
from tests.stack import Stack, running_stack

CUTS = 40
COUNT = 120
STEPS = ("first", "second", "third")
MODES: Any = ["values", "updates", "custom"]
Told = list[tuple[str, Any, str | None]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two_apis() -> AsyncGenerator[Stack]:
    """Two API processes; each test starts its own workers."""
    async with running_stack("api", "api", "scheduler", TREADLE_LEASE_SECS="3") as stack:
        yield stack


async def test_a_stream_that_the_network_cuts_off_forty_times_tells_everything_once(
    two_apis: Stack, tmp_path: Path
) -> None:
    worker = await two_apis.worker()
    cutter = Cutter(ports(two_apis), somewhere(CUTS), passing_location=False)
    async with cutter.listening():
        client = get_client(url=cutter.url)
        thread, run = await begin(two_apis, tmp_path / "gate")
        (tmp_path / "gate").touch()
        told: Told = []
        await follow(client, thread, run, told)
        assert cutter.cuts == CUTS
    await worker.stop()
    assert told == await everything(two_apis, thread, run)
    assert numbers(told) == [(step, n) for step in STEPS for n in range(COUNT)]


async def test_a_stream_that_its_client_leaves_forty_times_tells_everything_once(
    two_apis: Stack, tmp_path: Path
) -> None:
    worker = await two_apis.worker()
    clients = [service.client for service in two_apis.services("api")]
    thread, run = await begin(two_apis, tmp_path / "gate")
    (tmp_path / "gate").touch()
    chance = random.Random(3)
    told: Told = []
    for cut in range(CUTS):
        stream = joined(clients[cut % 2], thread, run, told)
        for _ in range(chance.randrange(1, 9)):
            told.append(plain(await anext(stream)))
        await leave(stream)
    told += [plain(part) async for part in joined(clients[0], thread, run, told)]
    await worker.stop()
    assert told == await everything(two_apis, thread, run)
    assert numbers(told) == [(step, n) for step in STEPS for n in range(COUNT)]


async def test_answers_by_id_outlive_the_worker_that_was_at_them(two_apis: Stack, tmp_path: Path) -> None:
    """One of two answers was taken when the worker died: the other one is not asked for again."""
    sign, gate = tmp_path / "sign", tmp_path / "gate"
    client = two_apis.services("api")[0].client
    victim = await two_apis.worker()
    thread = await new_thread(client)
    asked = await wait(client, thread, "panel", input={"gate": str(gate), "sign": str(sign)})
    answers = {question["id"]: question["value"].rstrip("?") for question in asked["__interrupt__"]}
    run = await client.runs.create(thread, "panel", command={"resume": answers}, durability="sync")
    await lines(sign, 1)
    heir = await two_apis.worker()
    await victim.kill()
    await lines(sign, 2)
    gate.touch()
    assert (await join(client, thread, run))["answers"] == {"quick": "quick", "slow": "slow"}
    await heir.stop()
    assert sign.read_text().splitlines() == ["thinking slow"] * 2
    assert (await client.threads.get(thread))["status"] == "idle"


async def lines(file: Path, count: int) -> None:
    """Wait until a graph has written so many lines."""
    async with asyncio.timeout(30):
        async for _ in awatch(file.parent, step=10, rust_timeout=200, yield_on_timeout=True):
            if written(file) >= count:
                return


def written(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


async def test_the_client_comes_back_to_a_cut_stream_by_itself(two_apis: Stack, tmp_path: Path) -> None:
    worker = await two_apis.worker()
    cutter = Cutter(ports(two_apis), [4000, 8000], passing_location=True)
    async with cutter.listening():
        thread = await new_thread(two_apis.services("api")[0].client)
        (tmp_path / "gate").touch()
        stream = get_client(url=cutter.url).runs.stream(
            thread, "counting", input=given(tmp_path / "gate"), stream_mode=MODES, stream_resumable=True
        )
        told = [plain(part) async for part in stream]
        assert cutter.cuts == 2
    await worker.stop()
    [run] = await two_apis.services("api")[0].client.runs.list(thread)
    assert told == await everything(two_apis, thread, run)
    assert numbers(told) == [(step, n) for step in STEPS for n in range(COUNT)]


async def test_after_its_worker_was_killed_a_cut_stream_goes_on_with_the_next_attempt(
    two_apis: Stack, tmp_path: Path
) -> None:
    """kill -9 in mid-step: a `metadata` event of attempt 2, then the interrupted step from its start."""
    victim = await two_apis.worker()
    cutter = Cutter(ports(two_apis), somewhere(CUTS), passing_location=False)
    told: Told = []
    async with cutter.listening(), asyncio.TaskGroup() as tasks:
        thread, run = await begin(two_apis, tmp_path / "gate")
        client = get_client(url=cutter.url)
        midway = asyncio.Event()
        following = tasks.create_task(follow(client, thread, run, told, midway))
        async with asyncio.timeout(30):
            await midway.wait()
        await victim.kill()
        told_before = len(told)
        heir = await two_apis.worker()
        (tmp_path / "gate").touch()
        await following
    await heir.stop()
    assert cutter.cuts == CUTS
    assert told == await everything(two_apis, thread, run)
    assert [data["attempt"] for event, data, _ in told if event == "metadata"] == [1, 2]
    again = next(n for n, (event, data, _) in enumerate(told) if event == "metadata" and data["attempt"] == 2)
    assert again >= told_before
    before, after = numbers(told[:again]), numbers(told[again:])
    broken_off = len(before) - COUNT
    assert COUNT // 2 <= broken_off <= COUNT
    assert before == [("first", n) for n in range(COUNT)] + [("second", n) for n in range(broken_off)]
    assert after == [(step, n) for step in ("second", "third") for n in range(COUNT)]
    assert [event_id for _, _, event_id in told] == [
        f"{attempt}-{n}" for attempt, count in ((1, again), (2, len(told) - again)) for n in range(count)
    ]
    assert (await join(two_apis.services("api")[1].client, thread, run))["done"] == list(STEPS)


def ports(stack: Stack) -> list[int]:
    return [service.port for service in stack.services("api")]


def somewhere(cuts: int) -> list[int]:
    """Bytes of an answer after which to cut it off: in its headers, between events, or inside of one."""
    chance = random.Random(40)
    return [chance.randrange(50, 1500) for _ in range(cuts)]


def given(gate: Path) -> dict[str, Any]:
    return {"count": COUNT, "gap": 0.004, "gate": str(gate)}


async def begin(stack: Stack, gate: Path) -> tuple[str, Run]:
    client = stack.services("api")[0].client
    thread = await new_thread(client)
    run = await client.runs.create(
        thread, "counting", input=given(gate), stream_mode=MODES, stream_resumable=True, durability="sync"
    )
    return thread, run


async def follow(
    client: LangGraphClient, thread: str, run: Run, told: Told, midway: asyncio.Event | None = None
) -> None:
    """Read a run's stream to its end, coming back after what was told last whenever it breaks off.

    Args:
        midway: set in the middle of the second step.
    """
    while True:
        try:
            async for part in joined(client, thread, run, told):
                told.append(plain(part))
                if midway is not None and numbers(told[-1:]) == [("second", COUNT // 2)]:
                    midway.set()
            return
        except httpx.TransportError:
            continue


def joined(client: LangGraphClient, thread: str, run: Run, told: Told) -> Any:
    last = told[-1][2] if told else None
    return client.runs.join_stream(thread, run["run_id"], last_event_id=last)


async def everything(stack: Stack, thread: str, run: Run) -> Told:
    """The same stream, read in one go."""
    client = stack.services("api")[1].client
    return [plain(part) async for part in client.runs.join_stream(thread, run["run_id"], last_event_id="-1")]


def plain(part: StreamPart) -> tuple[str, Any, str | None]:
    return part.event, cast(Any, part.data), part.id


def numbers(told: Told) -> list[tuple[str, int]]:
    return [(data["step"], data["n"]) for event, data, _ in told if event == "custom"]
