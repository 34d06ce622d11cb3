"""Crons that make runs, on the real clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast
from uuid import UUID

import asyncpg
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

from tests.e2e.steps import new_thread
from tests.notices import notices
from tests.stack import Stack

EVERY_SECOND = "* * * * * *"
TICKS = "select * from treadle.tick where cron_id = $1 order by scheduled_for limit $2"
T = TypeVar("T")


async def within(secs: float, awaited: Awaitable[T]) -> T:
    async with asyncio.timeout(secs):
        return await awaited


async def runs_done(client: LangGraphClient, thread: str, count: int) -> list[str]:
    """Follow a thread until so many runs of it have ended; their ids, in order."""
    done: list[str] = []
    async for part in await client.threads.join_stream(thread):
        told = cast(Any, part.data)
        if part.event == "metadata" and told.get("status") == "run_done":
            done.append(told["run_id"])
            if len(done) == count:
                break
    return done


async def test_a_cron_on_a_thread_runs_at_each_tick(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    body: dict[str, Any] = {"input": {"text": "a"}, "metadata": {"m": 1}, "config": {"tags": ["t"]}}
    cron: Any = await client.crons.create_for_thread(thread, "steps", schedule=EVERY_SECOND, **body)
    done = await within(15, runs_done(client, thread, 3))
    await client.crons.delete(cron["cron_id"])
    for run_id in done:
        run: Any = await client.runs.get(thread, run_id)
        config = run["kwargs"]["config"]
        assert (run["status"], run["metadata"]["m"], config["tags"]) == ("success", 1, ["t"])
        assert config["configurable"]["cron_id"] == cron["cron_id"]
    made = [datetime.fromisoformat(str((await client.runs.get(thread, run))["created_at"])) for run in done]
    assert made[-1] - made[0] < timedelta(seconds=4)


@pytest.mark.parametrize("after", ["keep", "delete"])
async def test_each_tick_has_a_thread_of_its_own(stack: Stack, client: LangGraphClient, after: str) -> None:
    made: Any = await cast(Any, client.crons).create(
        "steps", schedule=EVERY_SECOND, input={"text": "a"}, on_run_completed=after
    )
    first, second = await ticks(stack, made["cron_id"], 2)
    await client.crons.delete(made["cron_id"])
    assert first["thread_id"] != second["thread_id"]
    for tick in (first, second):
        thread, run = str(tick["thread_id"]), str(tick["run_id"])
        assert cast(Any, await client.runs.join(thread, run))["text"] == "A!"
        if after == "keep":
            assert (await client.threads.get(thread))["status"] == "idle"
        else:
            with pytest.raises(NotFoundError):
                await client.threads.get(thread)


async def test_a_tick_that_is_refused_says_why(stack: Stack, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.create(thread, "slow", input={"delay": 20})
    made: Any = await client.crons.create_for_thread(
        thread, "steps", schedule=EVERY_SECOND, input={"text": "a"}, multitask_strategy="reject"
    )
    for tick in await ticks(stack, made["cron_id"], 2):
        assert tick["run_id"] is None
        assert "busy" in tick["error"]
    await client.threads.delete(thread)


async def ticks(stack: Stack, cron_id: str, count: int) -> list[asyncpg.Record]:
    """The first ticks of a cron, once they are made."""
    url = stack.servers.postgres.url
    async with (
        notices(url, ["treadle.tick"]) as told,
        asyncpg.create_pool(url, min_size=1, max_size=1) as pool,
    ):

        async def look() -> list[asyncpg.Record] | None:
            made = await pool.fetch(TICKS, UUID(cron_id), count)
            return made if len(made) == count else None

        return await told.until(look)
