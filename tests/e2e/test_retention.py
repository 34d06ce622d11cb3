"""What is kept for how long, and what a user sees after it; and what the sweeper mends. docs/retention.md has the table."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from httpx import HTTPStatusError
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

from tests.e2e.steps import eventually, new_thread, wait
from tests.e2e.test_worker_metrics import read
from tests.receiver import Receiver
from tests.stack import free_port, running_stack

PATIENCE_SECS = 20


class Kept(NamedTuple):
    """A stack whose scheduler looks for what is over all the time."""

    client: LangGraphClient
    db: asyncpg.Connection
    receiver: Receiver
    metrics_port: int

    async def past(self, table: str, column: str, where: str, *parameters: Any) -> None:
        """As if the rows were forty days old."""
        moved = f"update treadle.{table} set {column} = {column} - interval '40 days' where {where}"
        await self.db.execute(moved, *parameters)

    async def number(self, table: str, where: str, *parameters: Any) -> int:
        return await self.db.fetchval(f"select count(*) from treadle.{table} where {where}", *parameters)

    async def repaired(self, duty: str) -> float:
        return (await read(self.metrics_port))[f"treadle_repairs_total{{{duty}}}"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kept() -> AsyncGenerator[Kept]:
    settings = {
        "TREADLE_RUN_KEEP_SECS": "86400",
        "TREADLE_RETENTION_INTERVAL_SECS": "0.2",
        "TREADLE_RETENTION_BATCH": "2",
        "TREADLE_SWEEP_INTERVAL_SECS": "0.5",
        "TREADLE_WEBHOOK_RETRY_SECS": "0.2",
        "TREADLE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    port = free_port()
    async with Receiver().listening() as receiver, running_stack("api", "worker", **settings) as stack:
        await stack.scheduler(METRICS_PORT=str(port))
        async with stack.database() as db:
            yield Kept(stack.services("api")[0].client, db, receiver, port)


async def run_ids(client: LangGraphClient, thread: str) -> list[str]:
    return [run["run_id"] for run in await client.runs.list(thread)]


async def test_old_runs_of_a_thread_go_and_all_that_it_remembers_stays(kept: Kept) -> None:
    thread = await new_thread(kept.client)
    for text in "abcd":
        await wait(kept.client, thread, "steps", input={"text": text})
    history = await kept.client.threads.get_history(thread, limit=100)
    newest, _, *old = await run_ids(kept.client, thread)
    await kept.past("run", "ended_at", "run_id = any($1::uuid[])", old)

    async def removed() -> bool:
        return len(await run_ids(kept.client, thread)) == 2

    await eventually(removed, PATIENCE_SECS)
    assert (await run_ids(kept.client, thread))[0] == newest
    assert await kept.client.threads.get_history(thread, limit=100) == history
    with pytest.raises(NotFoundError):
        await kept.client.runs.get(thread, old[0])
    with pytest.raises(HTTPStatusError, match="404"):
        await kept.client.runs.join(thread, old[0])
    first = history[-1]["checkpoint"]
    assert await kept.client.threads.get_state(thread, checkpoint=first) == history[-1]
    assert (await wait(kept.client, thread, "steps", input={"text": "e"}))["text"] == "E!"
    assert await kept.repaired("forget_runs") >= 2


async def test_records_of_what_failed_or_was_delivered_go(kept: Kept) -> None:
    thread = await new_thread(kept.client)
    await wait(kept.client, thread, "steps", input={"text": "a"}, webhook=kept.receiver.url("/told"))
    await kept.receiver.got("/told")
    insert = "insert into treadle.dead_letter (run_id, thread_id, graph_id, attempts, reason) values ($1, $2, 'g', 3, 'x')"
    for _ in range(5):
        await kept.db.execute(insert, uuid4(), thread)
    await eventually(
        lambda: counted(kept, "webhook", 1, "thread_id = $1 and state = 'delivered'", thread), PATIENCE_SECS
    )

    await kept.past("dead_letter", "created_at", "thread_id = $1", thread)
    await kept.past("webhook", "settled_at", "thread_id = $1", thread)

    await eventually(lambda: counted(kept, "dead_letter", 0, "thread_id = $1", thread), PATIENCE_SECS)
    await eventually(lambda: counted(kept, "webhook", 0, "thread_id = $1", thread), PATIENCE_SECS)
    assert len(await run_ids(kept.client, thread)) == 1


async def test_the_thread_of_a_stateless_run_goes_with_all_that_it_owned(kept: Kept) -> None:
    await wait(kept.client, None, "steps", input={"text": "a"})
    thread = await kept.db.fetchval("select thread_id from treadle.thread where gone_at is not null")
    await kept.past("thread", "gone_at", "thread_id = $1", thread)
    await eventually(lambda: counted(kept, "thread", 0, "thread_id = $1", thread), PATIENCE_SECS)
    assert await kept.db.fetch("select from checkpoints where thread_id = $1", str(thread)) == []


async def counted(kept: Kept, table: str, number: int, where: str, *parameters: Any) -> bool:
    return await kept.number(table, where, *parameters) == number


async def test_each_kind_of_repair_is_counted(kept: Kept) -> None:
    """A run that nobody was told of, one whose worker is gone, and a webhook that its receiver did not take."""
    untold, lost = await told_nobody(kept), await told_nobody(kept)
    await kept.db.execute(
        "with begun as (update treadle.run set status = 'running', attempt = 1, started_at = now() where run_id = $1)"
        " insert into treadle.lease (run_id, attempt, worker, lease_until) values ($1, 1, 'gone', now())",
        lost,
    )
    await kept.db.execute("update treadle.run set not_before = null where run_id = $1", untold)
    kept.receiver.answers["/owed"].append("503 Not Now")
    await wait(kept.client, None, "steps", input={"text": "a"}, webhook=kept.receiver.url("/owed"))
    await eventually(
        lambda: counted(kept, "run", 2, "run_id = any($1::uuid[]) and status = 'success'", [untold, lost]),
        PATIENCE_SECS,
    )
    await kept.receiver.got("/owed", 2)
    assert await kept.db.fetchval("select attempt from treadle.run where run_id = $1", lost) == 2
    for duty in ("untold", "leaseless", "webhook"):
        assert await kept.repaired(duty) >= 1, duty


async def told_nobody(kept: Kept) -> str:
    """A run that waits for its time, which is far away."""
    body: dict[str, Any] = {"input": {"text": "a"}, "after_seconds": 3600}
    return (await kept.client.runs.create(await new_thread(kept.client), "steps", **body))["run_id"]
