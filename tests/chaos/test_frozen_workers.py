"""A worker that is frozen in mid-write and thawed after others have gone on: what is kept is what the others made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import nats
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Run

from tests.chaos.evidence import Published
from tests.chaos.quiescence import events_created, published
from tests.chaos.zombie import hands
from tests.e2e.steps import begun, join, new_thread, values, wait
from tests.marking import marked
from tests.stack import Stack, marks, running_stack

LEASE_SECS = "2"
# What services write though nobody runs anything; a run's event leaves its table when it is told.
RESTLESS = {"treadle.leader", "treadle.run_event", "treadle.lease"}
TO_BE_TOLD = "select exists (select from treadle.run_event)"
WAITING_FOR_A_LOCK = """
select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%treadle.' || $1 || '(%'
"""


async def test_a_frozen_worker_changes_nothing_when_it_thaws(tmp_path: Path) -> None:
    """SIGSTOP past the lease in the middle of a stream with a put to come, of a step, and of writing an outcome."""
    log, gate, last_gate = tmp_path / "marks", tmp_path / "gate", tmp_path / "last"
    given: dict[str, Any] = {"log": str(log), "gate": str(gate)}
    async with (
        running_stack("api", "scheduler", TREADLE_LEASE_SECS=LEASE_SECS) as stack,
        hands(stack) as look,
    ):
        client = stack.services("api")[0].client
        frozen = await stack.worker()
        putting, stepping, ending = [await new_thread(client) for _ in range(3)]
        put = await client.runs.create(
            putting, "frozen", input={**given, "label": "put"}, stream_mode=["custom"], durability="sync"
        )
        await begun(client.runs.join_stream(putting, put["run_id"]))
        step = await client.runs.create(
            stepping, "three_steps", input={**given, "label": "step"}, durability="sync"
        )
        end = await client.runs.create(
            ending, "three_steps", input={**given, "gate": str(last_gate), "label": "end"}, durability="sync"
        )
        await marked(log, "dwell", 2)
        async with locked(stack, ending) as waiting:
            last_gate.touch()
            await waiting("finish")
            frozen.pause()
            heir = await stack.worker()
            await marked(log, "hold", 2)
            await marked(log, "dwell", 3)
            await waiting("claim")
        gate.touch()
        for thread, run in ((putting, put), (stepping, step), (ending, end)):
            await join(client, thread, run)
        # The outcome that was on its way is the frozen worker's own, as is telling of that end once it thaws.
        its_own = f"treadle:{{{end['run_id']}}}:events"
        before, told = await kept(look, its_own), await everything(client, putting, put)
        announced = await lifecycle(stack)

        frozen.resume()

        assert await frozen.logged(f"run {put['run_id']}")
        assert await frozen.logged(f"run {step['run_id']}")
        # It goes on with what it may, and whichever wake-ups it acknowledged, nothing of these threads is forgotten.
        assert await kept(look, its_own) == before
        assert await everything(client, putting, put) == told
        assert await lifecycle(stack) == announced
        for thread in (putting, stepping, ending):
            await wait(client, thread, "marked", input={"label": "next", "log": str(log)})
        item = await look.store.aget(("frozen",), "put")
        ended = [
            await client.runs.get(thread, run["run_id"]) for thread, run in ((stepping, step), (ending, end))
        ]
        done = await values(client, ending)
    assert [data["attempt"] for event, data, _ in told if event == "metadata"] == [1, 2]
    assert item is not None
    assert item.value == {"pid": heir.pid}
    assert [run["status"] for run in ended] == ["success", "success"]
    assert done["done"] == ["prepare", "dwell", "conclude", "next"]
    assert [pid for what, label, pid in marks(log) if (what, label) == ("conclude", "step")] == [heir.pid]
    assert [pid for what, label, pid in marks(log) if (what, label) == ("conclude", "end")] == [frozen.pid]


@asynccontextmanager
async def locked(stack: Stack, thread: str) -> AsyncGenerator[Any]:
    """Hold a thread's row; gives a function that waits until a statement of the protocol waits for it."""
    async with stack.database() as watcher, stack.database() as holder, holder.transaction():
        await holder.execute("select from treadle.thread where thread_id = $1 for update", thread)

        async def waiting(statement: str) -> None:
            async with asyncio.timeout(30):
                while not await one_waits(watcher, statement):  # noqa: ASYNC110 - Postgres tells nobody of its waiters
                    await asyncio.sleep(0.02)

        yield waiting


async def one_waits(watcher: asyncpg.Connection, statement: str) -> bool:
    return bool(await watcher.fetchval(WAITING_FOR_A_LOCK, statement))


async def kept(look: Any, *but: str) -> dict[str, Any]:
    return {name: rows for name, rows in (await look.snapshot()).items() if name not in {*RESTLESS, *but}}


async def lifecycle(stack: Stack) -> list[Published]:
    """What the world was told of all runs, as soon as nothing more is to be told; each event once."""
    client = await nats.connect(stack.servers.nats.url)
    try:
        async with stack.database() as database, asyncio.timeout(30):
            while await database.fetchval(TO_BE_TOLD):  # noqa: ASYNC110 - the table tells nobody
                await asyncio.sleep(0.05)
        return list(dict.fromkeys(await published(client, await events_created(client)) or ()))
    finally:
        await client.close()


async def everything(client: LangGraphClient, thread: str, run: Run) -> list[Any]:
    """All events of a run, with their ids; each once."""
    stream = client.runs.join_stream(thread, run["run_id"], last_event_id="-1")
    told: list[Any] = [(part.event, part.data, part.id) async for part in stream]
    assert len({event_id for _, _, event_id in told}) == len(told)
    return told
