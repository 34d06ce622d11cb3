"""Whose turn it is: order, delays, and what the sweeper sees of those that nobody took."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.integration.run_protocol.bench import Bench, taken
from treadle.db.queue import DuePlace, WaitingPlace
from treadle.db.runs import Claim


async def test_a_claim_takes_the_run_under_a_lease_and_counts_the_attempt(bench: Bench) -> None:
    created = await bench.create()

    run = await bench.claimed()

    assert (run.run_id, run.status, run.attempt, run.crashes) == (created.run_id, "running", 1, 0)
    assert run.started_at is not None
    lease: Any = await bench.pool.fetchrow("select * from treadle.lease")
    assert (lease["run_id"], lease["attempt"], lease["worker"]) == (run.run_id, 1, "worker")


async def test_runs_are_claimed_in_the_order_in_which_they_were_accepted(bench: Bench) -> None:
    created = [await bench.create() for _ in range(5)]

    claim = await bench.claim()
    order: list[UUID] = []
    while claim.run is not None:
        order.append(claim.run.run_id)
        claim = await bench.finish(claim.run)

    assert order == [run.run_id for run in created]
    assert claim.outcome == "idle"


async def test_a_thread_whose_run_is_leased_gives_nothing_and_says_for_how_long(bench: Bench) -> None:
    await bench.create()
    await bench.create()
    await bench.claimed()

    claim = await bench.claim()

    assert (claim.outcome, claim.run) == ("leased", None)
    assert claim.retry_in is not None
    assert 25 < claim.retry_in <= 30


async def test_of_many_claims_at_once_one_gets_the_run(bench: Bench) -> None:
    await bench.create()
    await bench.create()

    claims = await asyncio.gather(*(bench.claim() for _ in range(8)))

    assert sorted(claim.outcome for claim in claims) == ["claimed"] + ["leased"] * 7


async def test_a_thread_with_nothing_to_do_and_a_missing_one_are_idle(bench: Bench) -> None:
    assert (await bench.claim()).outcome == "idle"

    await bench.finish(taken(await claim_new(bench)))

    assert (await bench.claim()).outcome == "idle"


async def claim_new(bench: Bench) -> Claim:
    await bench.create()
    return await bench.claim()


async def test_a_delayed_run_is_claimed_only_when_it_is_due(bench: Bench) -> None:
    delayed = await bench.create(delay_secs=60)
    assert (await bench.claim()).outcome == "idle"
    assert (await bench.thread()).status == "busy"

    await bench.come_due(delayed)

    assert (await bench.claimed()).run_id == delayed.run_id


async def test_a_delayed_run_holds_up_no_other(bench: Bench) -> None:
    delayed = await bench.create(delay_secs=60)
    prompt = await bench.create()

    claim = await bench.claim()
    assert taken(claim).run_id == prompt.run_id
    assert (await bench.finish(taken(claim))).outcome == "idle"

    await bench.come_due(delayed)
    assert (await bench.claimed()).run_id == delayed.run_id


async def test_the_scheduler_finds_runs_that_have_come_due_since_its_last_look(bench: Bench) -> None:
    start = DuePlace.at(await bench.queue.clock())
    first, second = await bench.create(delay_secs=60), await bench.create(delay_secs=60)
    assert await bench.queue.come_due(start, 10) == []

    await bench.come_due(first)
    [due] = await bench.queue.come_due(start, 10)
    await bench.come_due(second)

    assert (due.run_id, due.thread_id, due.route) == (first.run_id, bench.thread_id, "default")
    assert [run.run_id for run in await bench.queue.come_due(DuePlace.of(due), 10)] == [second.run_id]


async def test_runs_that_are_due_at_the_same_moment_are_all_found_batch_by_batch(bench: Bench) -> None:
    place = DuePlace.at(await bench.queue.clock())
    runs = [await bench.create(delay_secs=60) for _ in range(5)]
    await bench.pool.execute("update treadle.run set not_before = clock_timestamp() where true")
    await bench.pool.execute("update treadle.run set not_before = (select min(not_before) from treadle.run)")

    found: list[UUID] = []
    while batch := await bench.queue.come_due(place, 2):
        found += [run.run_id for run in batch]
        place = DuePlace.of(batch[-1])

    assert sorted(found) == sorted(run.run_id for run in runs)


async def test_only_heads_of_threads_without_a_running_run_are_overdue(bench: Bench) -> None:
    begin = WaitingPlace(await bench.queue.clock() - timedelta(hours=1), 0)
    head = await bench.create()
    await bench.create()
    await bench.create(delay_secs=60)

    [overdue] = await bench.queue.overdue(0, 10, begin)
    assert overdue.run_id == head.run_id
    assert await bench.queue.overdue(0, 10, overdue.place) == []
    assert await bench.queue.overdue(60, 10, begin) == []
    await bench.claimed()
    assert await bench.queue.overdue(0, 10, begin) == []


async def test_running_runs_without_a_living_lease_are_found(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()
    assert await bench.queue.leaseless(10) == []

    await bench.end_lease(run)

    [found] = await bench.queue.leaseless(10)
    assert (found.run_id, found.attempt) == (run.run_id, 1)
    assert found.waited_secs >= 1
