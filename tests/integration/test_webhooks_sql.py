"""Webhooks in Postgres: owed from the end of a run on, by one deliverer at a time, until they are settled."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import replace

from tests.integration.accepting import accepted
from treadle import json
from treadle.db.new_run import NewRun
from treadle.db.pool import Pool
from treadle.db.runs import Lease, Outcome, Runs
from treadle.db.scope import EVERYWHERE
from treadle.db.webhooks import Owed, Webhooks
from treadle.model import CancelAction, RunStatus

URL = "https://example.com/hook"
LEASE = Lease("worker", secs=30, max_crashes=3)
SETTLED: dict[str, Any] = {"secs": 0.1, "status": 200, "error": None, "retry_secs": None}


async def ended(pool: Pool, thread: UUID, values: Any = None, **outcome: Any) -> None:
    """The run that is on comes to its end."""
    runs = Runs(pool)
    run = (await runs.claim(thread, LEASE)).run
    assert run is not None
    given: dict[str, Any] = {
        "status": "success",
        "resting": "idle",
        "values": json.encode(values),
        **outcome,
    }
    await runs.finish(run, Outcome(**given), LEASE, claim_next=False)


async def one_owed(pool: Pool) -> tuple[Webhooks, Owed]:
    thread = uuid4()
    await accepted(pool, thread, webhook=URL)
    await ended(pool, thread, {"a": 1})
    webhooks = Webhooks(pool)
    [owed] = await webhooks.take_due(60, 10)
    return webhooks, owed


async def made_due(pool: Pool) -> None:
    await pool.execute("update treadle.webhook set due_at = clock_timestamp()")


async def test_the_end_of_a_run_writes_down_what_is_owed(pool: Pool) -> None:
    thread = uuid4()
    run = await accepted(pool, thread, webhook=URL, input={"n": "\x00"})
    await ended(pool, thread, {"a": 1})

    [owed] = await Webhooks(pool).take_of_run(run, 60)

    assert (owed.run_id, owed.url, owed.values, owed.attempts) == (run, URL, {"a": 1}, 1)
    assert (owed.run["status"], owed.run["kwargs"]["input"]) == ("success", {"n": "\x00"})


async def test_nul_in_an_input_does_not_keep_a_run_from_ending(pool: Pool) -> None:
    """Postgres's json keeps NUL, and cannot take a value out of what holds it."""
    inputs = ["\x00", "a\\u0000", "\\\x00\x00", "\\\\u0000", {"webhook": "\x00"}]
    for given in inputs:
        thread = uuid4()
        run = await accepted(pool, thread, input=given, webhook=URL)
        await ended(pool, thread)
        [owed] = await Webhooks(pool).take_of_run(run, 60)
        assert (owed.url, owed.run["kwargs"]["input"]) == (URL, given)


async def test_a_run_without_a_webhook_owes_nothing(pool: Pool) -> None:
    thread = uuid4()
    nested = {"input": {"webhook": URL, "nul": "\x00"}}
    for kwargs in ({}, {"webhook": None}, nested, {**nested, "webhook": None}):
        await accepted(pool, thread, **kwargs)
        await ended(pool, thread, {})

    assert await Webhooks(pool).take_due(60, 10) == []


async def test_a_failure_is_owed_with_the_values_that_its_thread_has_then(pool: Pool) -> None:
    thread = uuid4()
    await accepted(pool, thread, webhook=URL)
    error = json.encode({"error": "E", "message": "m"})
    await ended(pool, thread, {"half": 1}, status="error", resting="error", error=error)

    [owed] = await Webhooks(pool).take_due(60, 10)

    assert (owed.run["status"], owed.run["error"]["error"], owed.values) == ("error", "E", {"half": 1})


async def test_cancels_owe_too_before_and_after_the_beginning(pool: Pool) -> None:
    thread, runs = uuid4(), Runs(pool)
    on = await accepted(pool, thread, webhook=URL)
    first, second = await accepted(pool, thread, webhook=URL), await accepted(pool, thread, webhook=URL)
    run = (await runs.claim(thread, LEASE)).run
    assert run is not None
    await runs.cancel(EVERYWHERE, thread, first, CancelAction.ROLLBACK)
    await runs.cancel_some(EVERYWHERE, thread, [RunStatus.PENDING, RunStatus.RUNNING], CancelAction.INTERRUPT)
    await runs.hand_back(run)

    owed = {each.run_id: each.run["status"] for each in await Webhooks(pool).take_due(60, 10)}

    assert owed == {on: "interrupted", first: "rollback", second: "interrupted"}


async def test_a_run_that_is_given_up_owes_its_error(pool: Pool) -> None:
    thread, runs = uuid4(), Runs(pool)
    await accepted(pool, thread, webhook=URL)
    only_once = replace(LEASE, max_crashes=1)
    await runs.claim(thread, only_once)
    await pool.execute("update treadle.lease set lease_until = clock_timestamp() - interval '1 second'")
    await runs.claim(thread, only_once)

    [owed] = await Webhooks(pool).take_due(60, 10)

    assert (owed.run["status"], owed.run["error"]["error"]) == ("error", "WorkerLost")


async def test_two_deliverers_never_take_the_same_one(pool: Pool) -> None:
    thread = uuid4()
    for _ in range(20):
        await accepted(pool, thread, webhook=URL)
        await ended(pool, thread, {})
    webhooks = Webhooks(pool)

    taken = await asyncio.gather(*(webhooks.take_due(60, 7) for _ in range(5)))

    ids = [owed.webhook_id for each in taken for owed in each]
    assert len(ids) == len(set(ids))
    assert len(ids) + len(await webhooks.take_due(60, 20)) == 20


async def test_what_a_dead_deliverer_took_comes_due_when_its_lease_ends(pool: Pool) -> None:
    webhooks, owed = await one_owed(pool)
    assert await webhooks.take_due(60, 10) == []
    await made_due(pool)

    [again] = await webhooks.take_due(60, 10)

    assert (again.webhook_id, again.attempts) == (owed.webhook_id, 2)


async def test_a_deliverer_that_comes_too_late_decides_nothing_but_is_on_record(pool: Pool) -> None:
    webhooks, owed = await one_owed(pool)
    await made_due(pool)
    [again] = await webhooks.take_due(60, 10)
    await webhooks.settle(owed, "failed", secs=9, status=500, error=None, retry_secs=None)

    assert await pool.fetchval("select state from treadle.webhook") == "owed"
    await webhooks.settle(again, "delivered", **SETTLED)
    assert await pool.fetchval("select state from treadle.webhook") == "delivered"
    records = await pool.fetch("select number, status from treadle.webhook_attempt order by number")
    assert [tuple(record) for record in records] == [(1, 500), (2, 200)]


async def test_what_is_settled_keeps_no_values_and_is_forgotten_in_time(pool: Pool) -> None:
    webhooks, owed = await one_owed(pool)
    await webhooks.settle(owed, "delivered", **SETTLED)

    row = await pool.fetchrow("select * from treadle.webhook")
    assert row is not None
    assert (row["run"], row["values"]) == (None, None)
    assert await webhooks.forget(60, 10) == 0
    assert await webhooks.forget(0, 10) == 1
    assert await pool.fetchval("select count(*) from treadle.webhook_attempt") == 0


async def test_a_pause_puts_the_next_attempt_off(pool: Pool) -> None:
    webhooks, owed = await one_owed(pool)
    await webhooks.settle(owed, "owed", secs=1, status=503, error=None, retry_secs=30)

    secs = await pool.fetchval(
        "select extract(epoch from due_at - clock_timestamp())::float8 from treadle.webhook"
    )

    assert 29 < secs <= 30
    assert await webhooks.take_due(60, 10) == []


async def test_a_batch_is_made_as_a_whole_or_not_at_all(pool: Pool) -> None:
    runs, thread, nowhere = Runs(pool), uuid4(), uuid4()

    def new(thread_id: UUID, **fields: Any) -> NewRun:
        given: dict[str, Any] = {"assistant_id": uuid4(), "graph_id": "g", "kwargs": {}, **fields}
        return NewRun(run_id=uuid4(), thread_id=thread_id, **given)

    refused = await runs.create_all([new(thread, if_not_exists="create"), new(nowhere), new(thread)])
    assert [each.outcome for each in refused] == ["created", "thread_not_found"]
    assert await pool.fetchval("select count(*) from treadle.run") == 0
    made = await runs.create_all([new(thread, if_not_exists="create"), new(thread)])
    assert [each.run.seq for each in made if each.run] == sorted(each.run.seq for each in made if each.run)
    assert await pool.fetchval("select count(*) from treadle.run") == 2
