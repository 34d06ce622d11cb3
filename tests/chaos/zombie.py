"""A worker that has lost its run and does not know it: all that it can still try to write, and what is kept of anything."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import redis.asyncio
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from tests.stack import Stack
from treadle.checkpoint.fenced import FencedSaver
from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.db import checkpoint_rows
from treadle.db.new_run import NewRun
from treadle.db.pool import Pool, connect_pool
from treadle.db.runs import ABANDON, HEARTBEAT, Lease, Outcome, Runs
from treadle.db.scope import EVERYWHERE
from treadle.errors import Fenced
from treadle.model import Run
from treadle.store.postgres import PostgresStore
from treadle.streaming import EventPublisher, EventWriter, connect, thread_channel

LEASE = Lease("zombie", secs=30, max_crashes=10)
OTHER = Lease("heir", secs=30, max_crashes=10)
NULL_TASK = "00000000-0000-0000-0000-000000000000"
NAMESPACE = ("memories",)

# The tables that a fault may not touch, but one: what is written to it belongs to no run.
TABLES = """
select format('%I.%I', schemaname, relname) from pg_stat_user_tables
 where schemaname in ('treadle', 'public') and relname not like '%migration%' order by 1
"""


@dataclass
class Hands:
    """The connections that a worker writes through."""

    pool: Pool
    checkpoints: ConnectionPool
    store: PostgresStore
    redis: redis.asyncio.Redis
    publisher: EventPublisher

    @property
    def runs(self) -> Runs:
        return Runs(self.pool)

    async def begun(self) -> Run:
        """A run that a worker has claimed, with a webhook to be owed and a state of its thread to be spoilt."""
        thread_id = uuid4()
        await self.runs.create(
            NewRun(
                run_id=uuid4(),
                thread_id=thread_id,
                assistant_id=uuid4(),
                graph_id="agent",
                kwargs={"webhook": "http://127.0.0.1:1/"},
                if_not_exists="create",
            )
        )
        return await self.claimed(thread_id, LEASE)

    async def claimed(self, thread_id: Any, lease: Lease) -> Run:
        run = (await self.runs.claim(thread_id, lease)).run
        assert run is not None
        return run

    async def end_lease(self, run: Run) -> None:
        """As if the run's worker had been silent for too long."""
        ended = "update treadle.lease set lease_until = clock_timestamp() - interval '1 s' where run_id = $1"
        await self.pool.execute(ended, run.run_id)

    def writer(self, run: Run) -> EventWriter:
        """Of one that believes in its lease."""
        thread = thread_channel(run.thread_id, run.tenant)
        return self.publisher.writer(run.run_id, run.attempt, lambda: True, thread=thread)

    async def snapshot(self) -> dict[str, Any]:
        """Every row of every table, and every key of Redis with all that is in it."""
        found: dict[str, Any] = {}
        for row in await self.pool.fetch(TABLES):
            rows = await self.pool.fetch(f"select t::text as row from {row[0]} t")
            found[row[0]] = sorted(each["row"] for each in rows)
        for key in cast("list[bytes]", await cast(Any, self.redis).keys("*")):
            found[key.decode()] = await self.redis.dump(cast(Any, key))
        return found


@asynccontextmanager
async def hands(stack: Stack) -> AsyncGenerator[Hands]:
    """Made as the worker makes them."""
    address = stack.servers.postgres.url
    pool = await connect_pool(address, size=20, service="zombie")
    link = connect(stack.servers.valkey.url)
    try:
        async with (
            checkpoint_pool(address, size=20, service="zombie") as checkpoints,
            EventPublisher(link) as publisher,
        ):
            yield Hands(pool, checkpoints, PostgresStore(checkpoints), link, publisher)
    finally:
        await link.aclose()
        await pool.close()


@asynccontextmanager
async def open_transaction(stack: Stack) -> AsyncGenerator[AsyncConnection[DictRow]]:
    """A connection whose writes stay uncommitted."""
    made = await AsyncConnection[DictRow].connect(stack.servers.postgres.url, row_factory=dict_row)
    async with made:
        yield made


# --- Every way in which an attempt writes to Postgres. Each returns whether it was refused. ---

Refused = bool
Write = Callable[[Hands, Run], Awaitable[Refused]]


async def refused(writing: Awaitable[object]) -> Refused:
    try:
        await writing
    except Fenced:
        return True
    return False


def place(run: Run, ns: str = "", checkpoint_id: str | None = None) -> RunnableConfig:
    of_thread = {"thread_id": str(run.thread_id), "checkpoint_ns": ns}
    return {"configurable": {**of_thread, **({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}}


def checkpoint(ns: str) -> Write:
    """With a value of its own and one that goes to the blobs."""

    async def put(hands: Hands, run: Run) -> Refused:
        values, versions = {"plain": "x", "blob": ["y"]}, {"plain": "1", "blob": "1"}
        made = {**empty_checkpoint(), "channel_values": values, "channel_versions": versions}
        saver = FencedSaver(hands.checkpoints, hands.pool, run.run_id, run.attempt)
        return await refused(saver.aput(place(run, ns), cast(Any, made), {"step": 1}, cast(Any, versions)))

    return put


def pending(*writes: tuple[str, Any], task: str = "task", ns: str = "") -> Write:
    async def put(hands: Hands, run: Run) -> Refused:
        saver = FencedSaver(hands.checkpoints, hands.pool, run.run_id, run.attempt)
        return await refused(saver.aput_writes(place(run, ns, str(uuid4())), list(writes), task))

    return put


def finishing(status: str, *, claim_next: bool, left: bool = False) -> Write:
    """`left`: with the last of what the attempt has written among the checkpoints."""

    async def finish(hands: Hands, run: Run) -> Refused:
        thread_id = str(run.thread_id)
        new = checkpoint_rows.NewCheckpoint(thread_id, "", str(uuid4()), None, '{"by": "a zombie"}', "{}")
        blob = checkpoint_rows.Blob(thread_id, "", "blob", "1", "bytes", b"a zombie's")
        written = checkpoint_rows.Write(
            thread_id, "", new.checkpoint_id, "task", "", 0, "channel", "bytes", b"a zombie's"
        )
        outcome = Outcome(
            status=cast(Any, status),
            resting="error",
            output=b'"of a zombie"',
            error=b'{"error": "Zombie"}',
            values=b'{"by": "a zombie"}',
            interrupts=b'{"task": [{"id": "1", "value": "a zombie asks"}]}',
            left=[checkpoint_rows.Put(thread_id, [new], [blob], [written])] if left else (),
        )
        return (await hands.runs.finish(run, outcome, LEASE, claim_next=claim_next)).outcome == "fenced"

    return finish


async def hand_back(hands: Hands, run: Run) -> Refused:
    return (await hands.runs.hand_back(run)).outcome == "fenced"


async def heartbeat(hands: Hands, run: Run) -> Refused:
    return not await hands.pool.fetch(HEARTBEAT, [run.run_id], [run.attempt], timedelta(seconds=99))


async def abandon(hands: Hands, run: Run) -> Refused:
    return await hands.pool.execute(ABANDON, run.run_id, run.attempt) == "UPDATE 0"


async def store_put(hands: Hands, run: Run) -> Refused:
    return await refused(
        hands.store.fenced(run.run_id, run.attempt).aput(NAMESPACE, "key", {"by": "a zombie"})
    )


async def store_delete(hands: Hands, run: Run) -> Refused:
    return await refused(hands.store.fenced(run.run_id, run.attempt).adelete(NAMESPACE, "kept"))


SAVER: dict[str, Write] = {
    "a checkpoint": checkpoint(""),
    "a checkpoint of a subgraph": checkpoint("child:1"),
    "pending writes": pending(("channel", ["y"])),
    "pending writes of a subgraph": pending(("channel", ["y"]), ns="child:1"),
    "a pending send": pending(("__pregel_tasks", ["node"])),
    "an error": pending(("__error__", "it failed")),
    "an interrupt": pending(("__interrupt__", ["a question"])),
    "an answer": pending(("__resume__", "an answer"), task=NULL_TASK),
}
STORE: dict[str, Write] = {"an item of the store": store_put, "removing an item of the store": store_delete}
PROTOCOL: dict[str, Write] = {
    **{
        f"the outcome {status}": finishing(status, claim_next=False)
        for status in ("success", "error", "timeout")
    },
    "the outcome interrupted": finishing("interrupted", claim_next=False),
    "the outcome with the last checkpoint": finishing("success", claim_next=False, left=True),
    "an outcome that claims what follows": finishing("success", claim_next=True),
    "handing back": hand_back,
    "a heartbeat": heartbeat,
    "giving its lease up": abandon,
}
EVERY_WRITE = {**SAVER, **STORE, **PROTOCOL}


# --- Every way in which an attempt loses its run. ---


async def taken_over(hands: Hands, run: Run) -> None:
    await hands.end_lease(run)
    await hands.claimed(run.thread_id, OTHER)


async def taken_over_and_ended(hands: Hands, run: Run) -> None:
    await hands.end_lease(run)
    heir = await hands.claimed(run.thread_id, OTHER)
    await hands.runs.finish(heir, Outcome(status="success", resting="idle"), OTHER, claim_next=False)


async def given_up(hands: Hands, run: Run) -> None:
    await hands.end_lease(run)
    await hands.runs.claim(run.thread_id, Lease("heir", secs=30, max_crashes=1))


async def put_aside(hands: Hands, run: Run) -> None:
    """Its next attempt is its last, and is to be made by a process of its own."""
    await hands.end_lease(run)
    await hands.runs.claim(run.thread_id, Lease("heir", secs=30, max_crashes=2))


async def cancelled(hands: Hands, run: Run) -> None:
    await hands.runs.cancel(EVERYWHERE, run.thread_id, run.run_id, cast(Any, "interrupt"))
    await hands.end_lease(run)
    await hands.runs.claim(run.thread_id, OTHER)


async def rolled_back(hands: Hands, run: Run) -> None:
    await hands.runs.cancel(EVERYWHERE, run.thread_id, run.run_id, cast(Any, "rollback"))
    await hands.end_lease(run)
    await hands.runs.claim(run.thread_id, OTHER)


async def deleted_with_its_thread(hands: Hands, run: Run) -> None:
    await hands.pool.fetch("select treadle.delete_threads($1)", [run.thread_id])


async def handed_back(hands: Hands, run: Run) -> None:
    await hands.runs.hand_back(run)


async def handed_back_and_begun_elsewhere(hands: Hands, run: Run) -> None:
    await hands.runs.hand_back(run)
    await hands.claimed(run.thread_id, OTHER)


async def ended(hands: Hands, run: Run) -> None:
    await hands.runs.finish(run, Outcome(status="success", resting="idle"), LEASE, claim_next=False)


async def failed(hands: Hands, run: Run) -> None:
    await hands.runs.finish(run, Outcome(status="error", resting="error"), LEASE, claim_next=False)


EVERY_LOSS = [
    taken_over,
    taken_over_and_ended,
    given_up,
    put_aside,
    cancelled,
    rolled_back,
    deleted_with_its_thread,
    handed_back,
    handed_back_and_begun_elsewhere,
    ended,
    failed,
]
