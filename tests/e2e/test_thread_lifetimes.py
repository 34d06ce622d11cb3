"""Threads that live for a while, with `checkpointer.ttl` in langgraph.json."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient

from tests.e2e.steps import begun, eventually, leave, wait
from tests.stack import Stack, running_stack

FLEETING = Path(__file__).parents[1] / "graphs" / "fleeting.json"
PATIENCE_SECS = 20


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleeting() -> AsyncGenerator[Stack]:
    """Threads that say nothing live for 0.6 seconds, and are looked for every 0.2."""
    async with running_stack("worker", "scheduler", "api", LANGGRAPH_CONFIG=str(FLEETING)) as stack:
        yield stack


@pytest.fixture
def client(fleeting: Stack) -> LangGraphClient:
    return fleeting.services("api")[0].client


async def gone(client: LangGraphClient, *threads: str) -> None:
    """Wait until threads are no longer found."""

    async def none() -> bool:
        return await client.threads.search(ids=threads) == []

    await eventually(none, PATIENCE_SECS)


async def ttl(client: LangGraphClient, thread: str) -> dict[str, Any]:
    shown = cast("dict[str, Any]", await client.threads.get(thread, include=["ttl"]))
    assert "ttl" not in await client.threads.get(thread)
    return shown["ttl"]


async def test_threads_live_for_as_long_as_the_file_says(client: LangGraphClient) -> None:
    made = await client.threads.create()
    copy = cast("dict[str, Any]", await cast(Any, client.threads).copy(made["thread_id"]))
    lasting = await client.threads.create(ttl=60)
    founded = str(uuid4())
    await wait(client, founded, "steps", input={"text": "a"}, if_not_exists="create")
    await gone(client, made["thread_id"], copy["thread_id"], founded)
    told = await ttl(client, lasting["thread_id"])
    assert (told["strategy"], told["ttl_minutes"]) == ("delete", 60)
    left = datetime.fromisoformat(told["expires_at"]) - datetime.fromisoformat(str(lasting["created_at"]))
    assert 3599 < left.total_seconds() < 3602


async def test_a_thread_lives_on_while_it_runs(client: LangGraphClient) -> None:
    thread = (await client.threads.create(metadata={"graph_id": "slow"}))["thread_id"]
    stream = client.runs.stream(thread, "slow", input={"delay": 2}, stream_mode="custom")
    await begun(stream)
    other = (await client.threads.create())["thread_id"]
    await gone(client, other)
    assert (await client.threads.get(thread))["status"] == "busy"
    await leave(stream)
    await gone(client, thread)


async def test_a_thread_may_keep_its_latest_state(client: LangGraphClient) -> None:
    thread = (await client.threads.create(ttl={"strategy": "keep_latest", "ttl": 60}))["thread_id"]
    await wait(client, thread, "steps", input={"text": "a"})
    assert len(await client.threads.get_history(thread)) > 1
    await client.threads.update(thread, metadata={}, ttl={"strategy": "keep_latest", "ttl": 0})

    async def pruned() -> bool:
        return len(await client.threads.get_history(thread)) == 1

    await eventually(pruned, PATIENCE_SECS)
    assert (await client.threads.get_state(thread))["values"] == {"text": "A!", "steps": ["first", "second"]}


async def test_a_time_to_live_can_be_given_later(client: LangGraphClient) -> None:
    thread = (await client.threads.create(ttl=60))["thread_id"]
    await client.threads.update(thread, metadata={"a": 1}, ttl={"ttl": 0.01})
    await gone(client, thread)
