"""Solitary runs in Postgres: whose last attempt is made alone, and what it takes to be given up."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from msgspec.structs import replace

from tests.integration.run_protocol.bench import Bench, ended, taken
from treadle.db.dead_letters import DeadRuns
from treadle.db.pool import Pool
from treadle.db.runs import Claim
from treadle.model import Run


@pytest.fixture
def bench(pool: Pool) -> Bench:
    return Bench(pool)


async def lose(bench: Bench, times: int) -> None:
    """Let the thread's next run lose its worker, beside others, so many times."""
    for _ in range(times):
        await bench.end_lease(await bench.claimed())


async def solitary(bench: Bench) -> Run:
    """A run whose next attempt is its last."""
    created = await bench.create()
    await lose(bench, bench.lease.max_crashes - 1)
    assert (await bench.claim()).outcome == "solitary"
    return created


async def seen(bench: Bench, run: Run) -> tuple[str, int, int]:
    row = await bench.row(run)
    assert row is not None
    return row.status, row.attempt, row.crashes


async def test_the_last_attempt_is_for_a_process_that_has_the_run_for_itself(bench: Bench) -> None:
    created = await solitary(bench)

    assert await seen(bench, created) == ("pending", 2, 2)
    assert (await bench.claim()).outcome == "solitary"
    assert await seen(bench, created) == ("pending", 2, 2)
    run = await bench.claimed_alone()
    assert (run.run_id, run.attempt, run.crashes) == (created.run_id, 3, 2)
    assert (await bench.claim()).outcome == "leased"


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_a_run_that_always_kills_its_worker_makes_as_many_attempts_as_it_may(
    bench: Bench, most: int
) -> None:
    bench.lease = replace(bench.lease, max_crashes=most)
    created = await bench.create()
    await lose(bench, max(1, most - 1))
    if most > 1:
        assert (await bench.claim()).outcome == "solitary"
        await bench.claimed_alone()
        await bench.die_alone()

    claim = await bench.claim()

    assert ended(claim) == [(created.run_id, "error")]
    [letter] = await bench.pool.fetch("select * from treadle.dead_letter")
    assert (letter["attempts"], "of its own" in letter["reason"]) == (most, most > 1)


async def test_a_solitary_run_that_is_handed_back_stays_solitary_and_uses_up_nothing(bench: Bench) -> None:
    created = await solitary(bench)
    await bench.hand_back(await bench.claimed_alone())

    assert (await bench.claim()).outcome == "solitary"
    assert await seen(bench, created) == ("pending", 3, 2)
    await bench.claimed_alone()
    await bench.die_alone()
    assert ended(await bench.claim()) == [(created.run_id, "error")]


async def test_what_took_its_worker_along_proves_nothing_until_it_is_too_much(bench: Bench) -> None:
    """The worker that started the process is dead too, by another's doing perhaps: nobody testifies."""
    created = await solitary(bench)
    for attempt in range(3, 2 * bench.lease.max_crashes + 1):
        run = await bench.claimed_alone()
        assert (run.run_id, run.attempt) == (created.run_id, attempt)
        await bench.end_lease(run)

    claim = await bench.claim()

    assert ended(claim) == [(created.run_id, "error")]
    row = await bench.row(created)
    assert row is not None
    assert "6 times (BG_JOB_MAX_RETRIES), the last time in a process of its own" in row.error["message"]


async def test_a_run_that_had_more_attempts_under_another_setting_gets_one_alone(bench: Bench) -> None:
    created = await bench.create()
    bench.lease = replace(bench.lease, max_crashes=10)
    await lose(bench, 6)
    bench.lease = replace(bench.lease, max_crashes=2)

    assert (await bench.claim()).outcome == "solitary"
    await bench.claimed_alone()
    await bench.die_alone()
    assert ended(await bench.claim()) == [(created.run_id, "error")]


async def test_only_the_process_that_has_the_run_can_have_died_of_it(bench: Bench) -> None:
    await solitary(bench)
    assert await bench.runs.died_alone(bench.thread_id, "alone") is None
    run = await bench.claimed_alone()
    assert await bench.runs.died_alone(bench.thread_id, "another") is None
    await bench.finish(run)
    assert await bench.runs.died_alone(bench.thread_id, "alone") is None
    await bench.create()
    await bench.claimed()
    assert await bench.runs.died_alone(bench.thread_id, "worker") is None


async def test_a_death_is_forgotten_with_the_next_attempt(bench: Bench) -> None:
    """More attempts are allowed in between: the one beside others that follows must not be held guilty by it."""
    created = await solitary(bench)
    await bench.claimed_alone()
    await bench.die_alone()
    bench.lease = replace(bench.lease, max_crashes=5)

    await bench.end_lease(await bench.claimed())
    bench.lease = replace(bench.lease, max_crashes=4)

    assert (await bench.claim()).outcome == "solitary"
    assert await seen(bench, created) == ("pending", 4, 4)


async def test_a_solitary_run_that_is_cancelled_ends_at_once(bench: Bench) -> None:
    created = await solitary(bench)
    assert await bench.cancel(created) == ("ended", "interrupted")
    assert (await bench.claim()).outcome == "idle"


async def test_a_cancel_wins_over_giving_up(bench: Bench) -> None:
    created = await solitary(bench)
    await bench.claimed_alone()
    assert await bench.cancel(created) == ("signalled", "running")
    await bench.die_alone()
    assert ended(await bench.claim()) == [(created.run_id, "interrupted")]
    assert await bench.pool.fetch("select from treadle.dead_letter") == []


async def test_what_waits_behind_a_solitary_run_keeps_waiting_and_then_runs_as_ever(bench: Bench) -> None:
    created = await solitary(bench)
    behind = await bench.create()
    assert (await bench.claim()).outcome == "solitary"
    alone = await bench.claimed_alone()
    assert alone.run_id == created.run_id
    assert taken(await bench.finish(alone)).run_id == behind.run_id


async def test_a_finish_claims_no_solitary_run(bench: Bench) -> None:
    """There is none behind a run that is on, unless somebody has put it there: then it is not taken either."""
    await bench.create()
    on = await bench.claimed()
    behind = await bench.create()
    await bench.pool.execute(
        "update treadle.run set attempt = 2, crashes = 2 where run_id = $1", behind.run_id
    )

    claim = await bench.finish(on)

    assert (claim.outcome, claim.run) == ("solitary", None)
    assert [run.run_id for run in claim.ended] == [on.run_id]
    assert (await bench.thread()).status == "busy"


async def test_a_heartbeat_in_time_keeps_a_run_from_becoming_solitary(bench: Bench) -> None:
    await bench.create()
    await lose(bench, 1)
    run = await bench.claimed()
    assert (await bench.claim()).outcome == "leased"
    assert await seen(bench, run) == ("running", 2, 1)


async def test_workers_of_the_version_before_do_as_before(bench: Bench) -> None:
    """They know no solitary runs: they take any, and give up after so many crashes of any kind."""
    created, following = await bench.create(), await bench.create()

    async def claim() -> Claim:
        row = await bench.pool.fetchrow(
            "select * from treadle.claim($1, 'old', $2, 3)", bench.thread_id, timedelta(seconds=30)
        )
        assert row is not None
        return Claim(row["outcome"], row["retry_in"], tuple(row["ended"]), row["run"])

    for attempt in range(1, 4):
        run = (await claim()).run
        assert run is not None
        assert (run["run_id"], run["attempt"]) == (created.run_id, attempt)  # pyright: ignore[reportIndexIssue]
        await bench.end_lease(created)
    given_up = await claim()
    assert given_up.run is not None
    assert await bench.status(created) == "error"
    row = await bench.pool.fetchrow(
        "select * from treadle.finish($1, $2, 1, 'success', '1', null, null, null, 'idle', 'old', $3, 3, true)",
        bench.thread_id,
        following.run_id,
        timedelta(seconds=30),
    )
    assert row is not None
    assert (row["outcome"], await bench.status(following)) == ("idle", "success")


async def test_a_run_that_was_given_up_alone_begins_anew_when_it_is_retried(bench: Bench) -> None:
    await bench.create()
    await bench.lose_all_workers()
    await bench.claim()
    dead = DeadRuns(bench.pool)
    [letter] = await dead.page(None, 10)
    made = await dead.remade(letter.id, uuid4(), uuid4())
    assert made is not None
    assert made.goes_on
    run = await bench.claimed()
    assert (run.run_id, run.attempt, run.crashes) == (made.run_id, 1, 0)
