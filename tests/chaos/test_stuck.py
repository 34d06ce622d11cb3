"""Nodes that hold what they run in and do not let go cost their own run, and neither their neighbours nor the worker."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient

from tests.e2e.steps import join, new_thread, values, wait
from tests.marking import marked
from tests.stack import Service, Stack, running_stack

TIMEOUT_SECS = 5.0
STUCK_SECS = 2.0
# Between the claims of two runs of which one is to be past its time and the other is not.
APART_SECS = 3.0
NEVER = "/never"
ROWS = "select status, crashes, attempt from treadle.run where run_id = $1"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack() -> AsyncGenerator[Stack]:
    """No worker: each test has its own, which may die of it. Leases outlive the tests, so nobody waits for their end."""
    async with running_stack(
        "api",
        "scheduler",
        N_JOBS_PER_WORKER="2",
        BG_JOB_TIMEOUT_SECS=f"{TIMEOUT_SECS:g}",
        TREADLE_STUCK_SECS=f"{STUCK_SECS:g}",
        TREADLE_LEASE_SECS="120",
    ) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> LangGraphClient:
    return stack.services("api")[0].client


class Pair:
    """Two runs on one worker: one that will block its loop when its gate opens, and one that does no harm."""

    def __init__(self, client: LangGraphClient, folder: Path) -> None:
        self.client = client
        self.log = folder / "marks"
        self.gate = folder / "gate"
        self._once = folder / "once"

    async def blocker(self) -> tuple[str, Any]:
        """Blocks for ever, but only in its first attempt."""
        return await self._run("blocks_for_ever", gate=str(self.gate), once=str(self._once))

    async def neighbour(self) -> tuple[str, Any]:
        return await self._run("three_steps", gate=str(self.gate) + ".neighbour")

    async def _run(self, graph: str, **given: str) -> tuple[str, Any]:
        thread = await new_thread(self.client)
        given |= {"log": str(self.log), "label": graph}
        return thread, await self.client.runs.create(thread, graph, input=given, durability="sync")

    async def block(self) -> None:
        """Open the gates: the loop is blocked, and the neighbour can go on wherever it is."""
        self.gate.touch()
        await marked(self.log, "blocks", 1)
        Path(f"{self.gate}.neighbour").touch()  # noqa: ASYNC240


async def row(stack: Stack, run: Any) -> tuple[str, int, int]:
    """(status, crashes, attempt)"""
    async with stack.database() as database:
        found = await database.fetchrow(ROWS, run["run_id"])
    assert found is not None
    return found["status"], found["crashes"], found["attempt"]


async def given_up(worker: Service) -> None:
    assert await worker.ended() == os.EX_SOFTWARE, worker.text


async def test_a_node_that_blocks_the_loop_for_ever_ends_as_timeout_and_its_neighbour_goes_on(
    stack: Stack, client: LangGraphClient, tmp_path: Path
) -> None:
    pair, worker = Pair(client, tmp_path), await stack.worker()
    blocker_thread, blocker = await pair.blocker()
    await marked(pair.log, "waits", 1)
    await asyncio.sleep(APART_SECS)  # the runs have to differ in age, and age takes time
    neighbour_thread, neighbour = await pair.neighbour()
    await marked(pair.log, "dwell", 1)
    await pair.block()
    heir = await stack.spawn("worker")
    await given_up(worker)
    assert await join(client, neighbour_thread, neighbour)
    answer = await join(client, blocker_thread, blocker)
    assert "BG_JOB_TIMEOUT_SECS" in answer["__error__"]["message"]
    assert await row(stack, blocker) == ("timeout", 0, 1)
    assert await row(stack, neighbour) == ("success", 0, 2)
    assert f"by run {blocker['run_id']}" in worker.text
    assert "in block" in worker.text  # the function that blocks, in the stack
    await heir.stop()


async def test_a_node_that_blocks_the_loop_while_another_run_is_past_its_time_is_charged(
    stack: Stack, client: LangGraphClient, tmp_path: Path
) -> None:
    """The other one ends. The one to blame goes on elsewhere, at the price of an attempt, so not for ever."""
    pair, worker = Pair(client, tmp_path), await stack.worker()
    neighbour_thread, neighbour = await pair.neighbour()
    await marked(pair.log, "dwell", 1)
    await asyncio.sleep(APART_SECS)
    blocker_thread, blocker = await pair.blocker()
    await marked(pair.log, "waits", 1)
    await pair.block()
    heir = await stack.spawn("worker")
    await given_up(worker)
    assert (await join(client, blocker_thread, blocker))["done"] == "block"
    assert "__error__" in await join(client, neighbour_thread, neighbour)
    assert await row(stack, blocker) == ("success", 1, 2)
    assert await row(stack, neighbour) == ("timeout", 0, 1)
    assert (await values(client, neighbour_thread))["done"] == ["prepare"]
    await heir.stop()


async def test_a_worker_whose_loop_is_blocked_hands_its_runs_on_when_it_is_told_to_stop(
    stack: Stack, client: LangGraphClient, tmp_path: Path
) -> None:
    pair, worker = Pair(client, tmp_path), await stack.worker(BG_JOB_TIMEOUT_SECS="3600")
    runs = [await pair.neighbour(), await pair.blocker()]
    await marked(pair.log, "dwell", 1)
    await marked(pair.log, "waits", 1)
    await pair.block()
    worker.signal(signal.SIGTERM)
    heir = await stack.spawn("worker")
    await given_up(worker)
    for thread, run in runs:
        await join(client, thread, run)
    assert [await row(stack, run) for _, run in runs] == [("success", 0, 2)] * 2
    await heir.stop()


async def test_what_goes_on_after_its_run_has_ended_keeps_no_worker_from_working_or_from_stopping(
    stack: Stack, client: LangGraphClient, tmp_path: Path
) -> None:
    """A thread that is never given back, in a subgraph, and a task that ignores its cancellation."""
    log, worker = tmp_path / "marks", await stack.worker(BG_JOB_TIMEOUT_SECS="1")
    given = {"log": str(log), "gate": NEVER}
    stuck = [(await new_thread(client), graph) for graph in ("holds_thread", "ignores_cancel")]
    ends = await asyncio.gather(
        *(wait(client, thread, graph, input=given, raise_error=False) for thread, graph in stuck)
    )
    assert [end["__error__"]["error"] for end in ends] == ["RunTimeout"] * 2
    assert (await wait(client, await new_thread(client), "steps", input={"text": "a"}))["text"] == "A!"
    assert await worker.stop() == 0
    assert "2 pieces of user code that do not end are ended with the process" in worker.text


async def test_a_worker_that_is_worn_out_by_what_goes_on_winds_down_to_be_started_anew(
    stack: Stack, client: LangGraphClient, tmp_path: Path
) -> None:
    worker = await stack.worker(BG_JOB_TIMEOUT_SECS="0.5", N_JOBS_PER_WORKER="1")
    given = {"log": str(tmp_path / "marks")}
    await wait(client, await new_thread(client), "ignores_cancel", input=given, raise_error=False)
    await given_up(worker)


async def test_a_node_without_memory_or_that_cancels_itself_fails_and_costs_no_slot(
    stack: Stack, client: LangGraphClient
) -> None:
    worker = await stack.worker()
    for graph, error in [("eats_memory", "MemoryError"), ("cancels_itself", "NodeCancelledError")] * 2:
        end = await wait(client, await new_thread(client), graph, input={}, raise_error=False)
        assert end["__error__"]["error"] == error
    assert (await wait(client, await new_thread(client), "steps", input={"text": "a"}))["text"] == "A!"
    assert await worker.stop() == 0
