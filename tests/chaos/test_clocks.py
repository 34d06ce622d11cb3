"""Clocks of hosts that are a minute apart change nothing: time is the database's, and order does not come from time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest
from langgraph_sdk.client import LangGraphClient

from tests.e2e.steps import join, new_thread, values, wait
from tests.marking import marked
from tests.stack import Stack, marks, running_stack

AHEAD, BEHIND = {"SKEW_SECS": "30"}, {"SKEW_SECS": "-30"}


@pytest.fixture(scope="module")
async def stack() -> AsyncGenerator[Stack]:
    """An API and a scheduler whose clocks are behind; workers come and go."""
    async with running_stack(TREADLE_LEASE_SECS="5") as stack:
        await stack.start("api", "scheduler", **BEHIND)
        yield stack


async def test_a_run_that_goes_on_at_a_host_whose_clock_is_behind_goes_on(
    stack: Stack, tmp_path: Path
) -> None:
    """langgraph orders the checkpoints of a thread by ids that it makes from the host's clock."""
    log, gate = tmp_path / "marks", tmp_path / "gate"
    [victim] = await stack.start("worker", **AHEAD)
    [api] = stack.services("api")
    client = api.client
    thread, asked = await new_thread(client), await new_thread(client)
    await wait(client, asked, "approval", input={"text": "before"})
    given = {"log": str(log), "gate": str(gate), "label": "run"}
    run = await client.runs.create(thread, "three_steps", input=given, durability="sync")
    await marked(log, "dwell", 1)
    before = await ids(client, thread)
    await victim.kill()
    gate.touch()
    heir = (await stack.start("worker", **BEHIND))[0]
    await join(client, thread, run)
    after = await ids(client, thread)
    assert after[-len(before) :] == before
    assert after == sorted(after, reverse=True)
    assert (await values(client, thread))["done"] == ["prepare", "dwell", "conclude"]

    # What comes after it on the thread: another run, a state written by hand, a branch, and one that is taken back.
    await wait(client, thread, "marked", input={"label": "next"})
    assert (await values(client, thread))["done"][-2:] == ["conclude", "next"]
    await client.threads.update_state(thread, {"done": ["by hand"]}, as_node="work")
    assert (await values(client, thread))["done"][-2:] == ["next", "by hand"]
    await wait(client, thread, "marked", input={"label": "branch"}, checkpoint_id=after[0])
    assert (await values(client, thread))["done"] == ["prepare", "dwell", "conclude", "branch"]
    back = await client.runs.create(thread, "marked", input={"label": "back", "delay": 60})
    await marked(log, "start", 3)
    await client.runs.cancel(thread, back["run_id"], action="rollback", wait=True)
    assert (await values(client, thread))["done"][-1] == "branch"
    everything = await ids(client, thread)
    assert everything == sorted(everything, reverse=True)

    # An answer to what was asked by the host that is ahead.
    await wait(client, asked, "approval", command={"resume": "yes"})
    assert (await values(client, asked))["text"] == "before:yes"
    assert [(what, pid) for what, label, pid in marks(log) if label == "run"] == [
        ("prepare", victim.pid),
        ("dwell", victim.pid),
        ("dwell", heir.pid),
        ("conclude", heir.pid),
    ]


async def test_leases_and_delays_go_by_the_clock_of_the_database(stack: Stack, tmp_path: Path) -> None:
    """With leases of five seconds, a host that went by its own clock would take every run from the others."""
    log = tmp_path / "marks"
    await stack.start("worker", "scheduler", **AHEAD)
    [api] = stack.services("api")
    client, labels = api.client, [f"run{n}" for n in range(8)]
    for label in labels:
        given = {"label": label, "log": str(log), "delay": 3}
        await client.runs.create(await new_thread(client), "marked", input=given)
    late = await new_thread(client)
    delayed = await client.runs.create(late, "steps", input={"text": "a"}, after_seconds=2)
    await join(client, late, delayed)
    await marked(log, "end", len(labels))
    async with stack.database() as database:
        waited = await database.fetchval(
            "select extract(epoch from started_at - created_at)::float8 from treadle.run where run_id = $1",
            delayed["run_id"],
        )
        attempts = await database.fetchval("select max(attempt) from treadle.run where graph_id = 'marked'")
    assert 2 <= waited < 30
    assert attempts == 1
    assert sorted(label for what, label, _ in marks(log) if what == "start") == labels


async def ids(client: LangGraphClient, thread: str) -> list[str]:
    """The checkpoints of a thread, as its history has them, each after the one that it came from."""
    history = cast("list[dict[str, Any]]", await client.threads.get_history(thread, limit=100))
    return [state["checkpoint"]["checkpoint_id"] for state in history]
