"""A run ends or is handed back, and the next one is claimed with the same step."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.integration.run_protocol.bench import Bench, ended, held, taken
from treadle import json
from treadle.db.new_run import NewRun
from treadle.db.queue import WaitingPlace
from treadle.db.runs import CREATE, FINISH, Outcome
from treadle.db.scope import EVERYWHERE
from treadle.model import CancelAction


async def test_finish_writes_outcome_and_state_and_claims_the_next_run(bench: Bench) -> None:
    first, second = await bench.create(), await bench.create()

    claim = await bench.finish(await bench.claimed())

    assert ended(claim) == [(first.run_id, "success")]
    assert taken(claim).run_id == second.run_id
    row = await bench.row(first)
    assert row is not None
    assert (row.status, row.output, row.error) == ("success", {"a": 1}, None)
    assert row.ended_at is not None
    thread = await bench.thread()
    assert (thread.status, thread.values) == ("busy", {"a": 1})


async def test_a_worker_that_drains_claims_no_next_run(bench: Bench) -> None:
    await bench.create()
    second = await bench.create()

    claim = await bench.finish(await bench.claimed(), claim_next=False)

    assert (claim.outcome, claim.run) == ("idle", None)
    assert await bench.status(second) == "pending"
    assert (await bench.thread()).status == "busy"


@pytest.mark.parametrize("resting", ["idle", "interrupted", "error"])
async def test_a_thread_rests_as_its_last_run_left_it(bench: Bench, resting: Any) -> None:
    await bench.create()

    await bench.finish(await bench.claimed(), Outcome(status="success", resting=resting))

    assert (await bench.thread()).status == resting


async def test_an_outcome_without_state_leaves_the_threads_own(bench: Bench) -> None:
    await bench.create()
    await bench.create()
    second = taken(await bench.finish(await bench.claimed()))

    failure = b'{"error":"ValueError","message":"no loom"}'
    await bench.finish(second, Outcome(status="error", resting="error", error=failure))

    thread = await bench.thread()
    assert (thread.values, thread.error) == ({"a": 1}, {"error": "ValueError", "message": "no loom"})


async def test_outcomes_with_a_nul_are_kept_as_far_as_postgres_can(bench: Bench) -> None:
    """What a graph says must not stop its run from ending."""
    run = await bench.create()
    data = json.encode({"text": "a\0b", "escape": "\\u0000"})

    await bench.finish(
        await bench.claimed(), Outcome(status="error", resting="error", output=data, error=data, values=data)
    )

    row = await bench.row(run)
    assert row is not None
    assert row.output == {"text": "a\0b", "escape": "\\u0000"}
    assert (await bench.thread()).values == {"text": "ab", "escape": "\\u0000"}


async def test_an_outcome_that_postgres_cannot_store_becomes_an_error_that_says_so(bench: Bench) -> None:
    """Or else the run would be tried again and again, and end the same way each time."""
    run, following = await bench.create(), await bench.create()

    claim = await bench.finish(
        await bench.claimed(), Outcome(status="success", resting="idle", values=b'{"number": 1e999999}')
    )

    assert ended(claim) == [(run.run_id, "error")]
    assert taken(claim).run_id == following.run_id
    row = await bench.row(run)
    assert row is not None
    assert row.error["error"] == "OutcomeNotStorable"
    assert "value overflows numeric format" in row.error["message"]


async def test_finish_sees_a_run_that_was_accepted_while_it_waited(bench: Bench) -> None:
    """Invariant ("mind the snapshot"): the next run is looked for in a statement that begins under the thread's lock.

    Otherwise this run would be pending with nobody to run it: its wake-up was dropped, for the thread was busy.
    """
    await bench.create()
    running = await bench.claimed()
    new = bench.new()
    async with bench.pool.acquire() as api:
        accepting = api.transaction()
        await accepting.start()
        await api.fetch(CREATE, *arguments_of(new))
        finishing = asyncio.create_task(bench.finish(running))
        assert await held(finishing), "finish did not wait for the thread's lock"
        await accepting.commit()

    claim = await asyncio.wait_for(finishing, 5)

    assert taken(claim).run_id == new.run_id


async def test_a_run_that_is_accepted_while_another_finishes_finds_the_thread_free(bench: Bench) -> None:
    """The other order: the finish did not see the run, so its wake-up must."""
    await bench.create()
    running = await bench.claimed()
    async with bench.pool.acquire() as worker:
        finishing = worker.transaction()
        await finishing.start()
        await worker.fetch(
            FINISH, bench.thread_id, running.run_id, 1, "success", None, None, None, None, "idle", "worker",
            timedelta(seconds=30), 3, False, True,
        )  # fmt: skip
        accepting = asyncio.create_task(bench.create())
        assert await held(accepting), "create did not wait for the thread's lock"
        await finishing.commit()

    created = await asyncio.wait_for(accepting, 5)

    assert (await bench.claimed()).run_id == created.run_id


def arguments_of(new: NewRun) -> list[Any]:
    """A run as the parameters of CREATE."""
    return [
        new.run_id, new.thread_id, new.assistant_id, new.graph_id, new.kwargs, "{}", new.strategy,
        new.if_not_exists, None, new.route, new.stateless, "{}", "{}", None, *new.lifetime, *new.scope,
    ]  # fmt: skip


async def test_no_run_is_left_behind_when_many_are_accepted_while_others_finish(bench: Bench) -> None:
    """Invariant: a run that is pending on an idle thread has a wake-up on its way, whatever the interleaving.

    Workers here do what the real ones do: one claim per wake-up, dropped when the thread is leased or idle, and
    run after run of the thread while `finish` gives one. Nothing sweeps up after them.
    """
    wakeups: asyncio.Queue[None] = asyncio.Queue()
    order: list[int] = []

    async def accept() -> None:
        for _ in range(20):
            await bench.create()
            wakeups.put_nowait(None)

    async def work() -> None:
        while True:
            await wakeups.get()
            claim = await bench.claim()
            while claim.run is not None:
                order.append(claim.run.seq)
                claim = await bench.finish(claim.run)
            wakeups.task_done()

    workers = [asyncio.create_task(work()) for _ in range(4)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(accept() for _ in range(5)))
        await wakeups.join()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)

    statuses = await bench.pool.fetch("select status, count(*) from treadle.run group by status")
    assert [tuple(row) for row in statuses] == [("success", 100)]
    assert order == sorted(order)
    assert (await bench.thread()).status == "idle"


async def test_a_run_that_is_handed_back_keeps_its_place_and_uses_up_no_attempt(bench: Bench) -> None:
    first = await bench.create()
    await bench.create()
    running = await bench.claimed()

    assert (await bench.hand_back(running)).outcome == "idle"

    row = await bench.row(first)
    assert row is not None
    assert (row.status, row.attempt, row.crashes) == ("pending", 1, 0)
    assert (await bench.thread()).status == "busy"
    again = await bench.claimed()
    assert (again.run_id, again.attempt, again.crashes) == (first.run_id, 2, 0)
    assert again.started_at == running.started_at


async def test_a_run_that_has_begun_goes_before_one_that_has_come_due_since(bench: Bench) -> None:
    """Its next attempt goes on at the thread's newest checkpoint, which nobody else may have made."""
    delayed = await bench.create(delay_secs=60)
    begun, later = await bench.create(), await bench.create()
    await bench.hand_back(await bench.claimed())
    await bench.come_due(delayed)

    [overdue] = await bench.queue.overdue(0, 10, WaitingPlace(begun.created_at, 0))
    assert overdue.run_id == begun.run_id
    claim = await bench.claim()
    order = list[UUID]()
    while claim.run is not None:
        order.append(claim.run.run_id)
        claim = await bench.finish(claim.run)
    assert order == [begun.run_id, delayed.run_id, later.run_id]


async def test_the_thread_of_a_stateless_run_is_hidden_when_it_ends_but_its_result_can_be_read(
    bench: Bench,
) -> None:
    run = await bench.create(stateless=True)
    assert await bench.threads.forget_gone(0, 10) == 0

    await bench.finish(await bench.claimed())

    assert await bench.threads.get(EVERYWHERE, bench.thread_id) is None
    assert await bench.row(run) is None
    kept = await bench.runs.get(EVERYWHERE, bench.thread_id, run.run_id, gone=True)
    assert kept is not None
    assert kept.output == {"a": 1}
    assert (await bench.ask(if_not_exists="create")).outcome == "thread_not_found"
    assert await bench.threads.forget_gone(60, 10) == 0
    assert await bench.threads.forget_gone(0, 10) == 1
    assert await bench.runs.get(EVERYWHERE, bench.thread_id, run.run_id, gone=True) is None


async def test_who_waits_learns_which_runs_are_over(bench: Bench) -> None:
    over, rolled_back, waiting = await bench.create(), await bench.create(), await bench.create()
    await bench.cancel(rolled_back, CancelAction.ROLLBACK)
    await bench.finish(await bench.claimed(), claim_next=False)

    found = await bench.runs.ended([over.run_id, rolled_back.run_id, waiting.run_id])

    assert {run.run_id: run.status for run in found} == {
        over.run_id: "success",
        rolled_back.run_id: "rolled_back",
    }
