"""Whose turn it is (migrations/0025_turns.sql)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest

from treadle.db.new_run import NewRun
from treadle.db.pool import Pool
from treadle.db.runs import Lease, Outcome, Runs
from treadle.db.scope import Scope
from treadle.db.turns import TurnRows
from treadle.model import CancelAction

ROUTE = "default"
LEASE = Lease("w", 60, 3)
DONE = Outcome(status="success", resting="idle")
TENANT = "select tenant from treadle.thread where thread_id = $1"


class Queue:
    """Runs that wait for their turn, and a hand that admits them."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.runs = Runs(pool)
        self.rows = TurnRows(pool)
        self.shares: dict[str, dict[str, Any]] = {}

    async def put(self, tenant: str, count: int = 1, priority: int = 0) -> list[UUID]:
        """Runs of a tenant, each on a thread of its own; returns their ids."""
        run_ids: list[UUID] = []
        for _ in range(count):
            new = NewRun(
                run_id=uuid4(),
                thread_id=uuid4(),
                assistant_id=uuid4(),
                graph_id="g",
                kwargs={},
                if_not_exists="create",
                scope=Scope(tenant),
            )
            await self.runs.create(new)
            await self.rows.set_priority(new.thread_id, priority)
            run_ids.append(new.run_id)
        await self.rows.put(run_ids)
        return run_ids

    async def admit(self, room: int) -> list[str]:
        """The tenants of the next runs, in their order."""
        admitted = await self.rows.admit(ROUTE, room, self.shares)
        return [await self.pool.fetchval(TENANT, run.thread_id) for run in admitted]


@pytest.fixture
def queue(pool: Pool) -> Queue:
    return Queue(pool)


async def test_tenants_take_turns_and_each_keeps_its_order(queue: Queue) -> None:
    first = await queue.put("a", 4)
    await queue.put("b", 2)
    assert await queue.admit(3) == ["a", "b", "a"]
    assert await queue.admit(10) == ["b", "a", "a"]
    assert await queue.admit(10) == []
    again = await queue.put("a", 3)
    admitted = await queue.rows.admit(ROUTE, 3, {})
    assert [run.run_id for run in admitted] == again
    assert not set(again) & set(first)


async def test_whoever_comes_goes_before_the_rest_of_what_another_one_has(queue: Queue) -> None:
    await queue.put("many", 50)
    await queue.admit(20)
    await queue.put("lone")
    assert "lone" in await queue.admit(2)


async def test_turns_that_nobody_wanted_are_not_saved_up(queue: Queue) -> None:
    await queue.put("early", 1)
    await queue.put("busy", 40)
    assert Counter(await queue.admit(31))["early"] == 1
    await queue.put("early", 20)
    assert Counter(await queue.admit(10)) == {"early": 5, "busy": 5}


async def test_weights_say_how_many_turns_each_has(queue: Queue) -> None:
    queue.shares = {"heavy": {"weight": 3}, "*": {"weight": 0.5}}
    await queue.put("heavy", 40)
    await queue.put("light", 40)
    assert Counter([tenant for _ in range(28) for tenant in await queue.admit(1)]) == {
        "heavy": 24,
        "light": 4,
    }


async def test_more_tenants_than_there_is_room_for_all_have_their_round(queue: Queue) -> None:
    tenants = [f"t{number}" for number in range(12)]
    for tenant in tenants:
        await queue.put(tenant, 3)
    admitted = [tenant for _ in range(6) for tenant in await queue.admit(4)]
    assert Counter(admitted[:12]) == dict.fromkeys(tenants, 1)
    assert Counter(admitted[12:]) == dict.fromkeys(tenants, 1)


async def test_priorities_order_the_runs_of_a_tenant_and_no_others(queue: Queue) -> None:
    [usual], [last], [first] = (
        await queue.put("a"),
        await queue.put("a", priority=5),
        await queue.put("a", priority=-5),
    )
    await queue.put("b", 3, priority=5)
    admitted = await queue.rows.admit(ROUTE, 6, {})
    own = [run.run_id for run in admitted if run.run_id in (usual, last, first)]
    assert own == [first, usual, last]
    assert [run.run_id in own for run in admitted] == [True, False] * 3


async def test_the_first_word_on_a_priority_stays(queue: Queue) -> None:
    await queue.put("a", priority=2)
    [thread_id] = [row["thread_id"] for row in await queue.pool.fetch("select thread_id from treadle.thread")]
    await queue.rows.set_priority(thread_id, -5)
    thread = await queue.rows.thread(Scope("a"), thread_id)
    assert thread is not None
    assert thread.priority == 2
    assert await queue.rows.thread(Scope("b"), thread_id) is None


async def test_no_more_threads_are_in_work_than_a_tenant_may_have(queue: Queue) -> None:
    queue.shares = {"a": {"concurrency": 2}}
    await queue.put("a", 4)
    await queue.put("b", 1)
    one = (await queue.rows.admit(ROUTE, 10, queue.shares))[0]
    assert await queue.admit(10) == []
    claimed = await queue.runs.claim(one.thread_id, LEASE)
    assert claimed.run is not None
    assert await queue.admit(10) == []
    await queue.runs.finish(claimed.run, DONE, LEASE, claim_next=False)
    assert await queue.admit(10) == ["a"]


async def test_no_more_runs_begin_in_a_minute_than_a_tenant_may(queue: Queue) -> None:
    queue.shares = {"a": {"starts_per_minute": 60}}
    await queue.put("a", 6)
    assert await queue.admit(10) == ["a", "a"]
    assert await queue.admit(10) == []
    await queue.pool.execute("update treadle.share set counted_at = counted_at - interval '1 second'")
    assert await queue.admit(10) == ["a"]


async def test_what_waits_no_longer_has_no_turn(queue: Queue) -> None:
    [cancelled, claimed, left] = await queue.put("a", 3)
    threads = {
        row["run_id"]: row["thread_id"]
        for row in await queue.pool.fetch("select run_id, thread_id from treadle.run")
    }
    await queue.runs.cancel(Scope("a"), threads[cancelled], cancelled, CancelAction.INTERRUPT)
    await queue.runs.claim(threads[claimed], LEASE)
    await queue.rows.put([cancelled, claimed])
    assert [run.run_id for run in await queue.rows.admit(ROUTE, 1, {})] == [left]
    assert await queue.rows.forget_what_needs_none() == 2
    assert not await queue.rows.any(ROUTE)
    assert await queue.rows.routes() == []


async def test_no_run_is_admitted_twice(queue: Queue) -> None:
    await queue.put("a", 20)
    await queue.put("b", 20)
    together = await asyncio.gather(*(queue.rows.admit(ROUTE, 7, {}) for _ in range(8)))
    admitted = [run.run_id for runs in together for run in runs]
    assert len(admitted) == len(set(admitted)) == 40
