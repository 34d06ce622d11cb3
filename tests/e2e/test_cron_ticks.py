"""Crons that make runs: on real services and the real clock, with schedulers that are killed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from langgraph_sdk.client import LangGraphClient

from tests.e2e.steps import new_thread

EVERY_SECOND = "* * * * * *"
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
