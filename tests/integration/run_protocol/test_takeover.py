"""Workers that die, and those that were only thought to have died: leases, attempts, fencing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.integration.run_protocol.bench import Bench, ended, held, taken
from treadle.db.runs import HEARTBEAT, Claim
from treadle.db.scope import EVERYWHERE
from treadle.model import Run


async def test_a_run_whose_lease_ended_goes_to_the_next_worker_as_a_new_attempt(bench: Bench) -> None:
    created = await bench.create()
    await bench.end_lease(await bench.claimed())

    again = await bench.claimed()

    assert (again.run_id, again.attempt, again.crashes) == (created.run_id, 2, 1)
    assert (await bench.claim()).outcome == "leased"


async def test_a_running_run_without_any_lease_is_taken_over(bench: Bench) -> None:
    """Nothing of Treadle's removes it alone; whoever does must not lose the thread."""
    await bench.create()
    run = await bench.claimed()
    await bench.pool.execute("delete from treadle.lease")

    async with asyncio.timeout(5):
        again = await bench.claimed()

    assert (again.run_id, again.attempt) == (run.run_id, 2)


async def test_of_many_takeovers_at_once_one_succeeds(bench: Bench) -> None:
    await bench.create()
    await bench.end_lease(await bench.claimed())

    claims = await asyncio.gather(*(bench.claim() for _ in range(8)))

    assert sorted(claim.outcome for claim in claims) == ["claimed"] + ["leased"] * 7


async def test_a_heartbeat_extends_only_the_leases_of_its_own_attempts(bench: Bench) -> None:
    await bench.create()
    old = await bench.claimed()
    await bench.end_lease(old)
    new = await bench.claimed()

    beats = await bench.pool.fetch(
        HEARTBEAT, [old.run_id, new.run_id, uuid4()], [old.attempt, new.attempt, 1], timedelta(seconds=60)
    )

    assert [row["run_id"] for row in beats] == [new.run_id]
    claim = await bench.claim()
    assert claim.retry_in is not None
    assert claim.retry_in > 30


async def test_a_late_heartbeat_revives_a_lease_that_nobody_took(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.end_lease(run)

    await bench.pool.fetch(HEARTBEAT, [run.run_id], [run.attempt], timedelta(seconds=30))

    assert (await bench.claim()).outcome == "leased"


async def test_a_heartbeat_that_comes_before_its_run_is_given_up_saves_it(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.cancel(run)
    await bench.end_lease(run)
    async with bench.pool.acquire() as worker:
        beat = worker.transaction()
        await beat.start()
        await worker.fetch(HEARTBEAT, [run.run_id], [run.attempt], timedelta(seconds=30))

        looking = asyncio.ensure_future(bench.claim())
        assert await held(looking), "the look did not wait for the heartbeat"
        await beat.commit()

    assert (await asyncio.wait_for(looking, 5)).outcome == "leased"
    assert await bench.status(run) == "running"


@pytest.mark.parametrize("step", [Bench.finish, Bench.hand_back])
async def test_an_older_attempt_changes_nothing(
    bench: Bench, step: Callable[[Bench, Run], Awaitable[Claim]]
) -> None:
    await bench.create()
    waiting = await bench.create()
    old = await bench.claimed()
    await bench.end_lease(old)
    new = await bench.claimed()
    before = await bench.thread()

    claim = await step(bench, old)

    assert (claim.outcome, claim.run, claim.ended) == ("fenced", None, ())
    assert await bench.row(old) == new
    assert await bench.status(waiting) == "pending"
    assert await bench.thread() == before


@pytest.mark.parametrize("step", [Bench.finish, Bench.hand_back])
async def test_an_attempt_whose_run_ended_or_is_gone_changes_nothing(
    bench: Bench, step: Callable[[Bench, Run], Awaitable[Claim]]
) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.finish(run)
    assert (await step(bench, run)).outcome == "fenced"

    await bench.threads.delete(EVERYWHERE, [bench.thread_id])
    assert (await step(bench, run)).outcome == "fenced"


async def test_a_run_that_lost_too_many_workers_ends_as_error_with_a_dead_letter(bench: Bench) -> None:
    created, following = await bench.create(), await bench.create()
    await bench.lose_all_workers()

    claim = await bench.claim()

    assert ended(claim) == [(created.run_id, "error")]
    assert taken(claim).run_id == following.run_id
    row = await bench.row(created)
    assert row is not None
    assert (row.status, row.attempt, row.error["error"]) == ("error", 3, "WorkerLost")
    assert "3 times (BG_JOB_MAX_RETRIES), the last time in a process of its own" in row.error["message"]
    [letter] = await bench.pool.fetch("select * from treadle.dead_letter")
    assert (letter["run_id"], letter["attempts"], letter["reason"]) == (
        row.run_id,
        3,
        "worker lost 3 times, the last time in a process of its own: alone",
    )
    assert letter["kwargs"] == created.kwargs


async def test_a_thread_whose_last_run_lost_too_many_workers_rests_in_error(bench: Bench) -> None:
    await bench.create()
    await bench.lose_all_workers()

    assert (await bench.claim()).outcome == "idle"

    thread = await bench.thread()
    assert (thread.status, thread.error["error"]) == ("error", "WorkerLost")
