"""The steps of the run protocol as a worker takes them while Postgres is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest

from tests.chaos.proxy import Plain, Proxy, Way
from tests.e2e.steps import eventually
from tests.integration.accepting import accepted
from treadle.db.pool import Pool, connect_pool
from treadle.db.runs import Lease, Outcome, Runs
from treadle.model import Run
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle_worker import drain as draining
from treadle_worker import settling as steps
from treadle_worker.active import ActiveRun
from treadle_worker.drain import Drain
from treadle_worker.leases import LeaseKeeper
from treadle_worker.settling import Settling
from treadle_worker.spans import Spans

LEASE = Lease("w", 0.6, 3)
SUCCESS = Outcome(status="success", resting="idle", output=b"{}", values=b"{}")
WAITING = """
select exists (select from pg_stat_activity where application_name = 'treadle-cut' and wait_event_type = 'Lock')
"""
REFUSING = """
create function no_memory() returns trigger language plpgsql as $$
begin raise exception 'out of memory' using errcode = '53200'; end $$;
create trigger no_memory before update on treadle.run for each row
    when (new.status = 'success') execute function no_memory();
"""
ACCEPTING = "drop trigger no_memory on treadle.run; drop function no_memory"


class Hands(NamedTuple):
    """A worker's, on a connection that goes through a proxy; it beats no leases."""

    settling: Settling
    keeper: LeaseKeeper
    drain: Drain
    proxy: Proxy


@asynccontextmanager
async def hands(dsn: str) -> AsyncGenerator[Hands]:
    async with Proxy(lambda: dsn).listening() as proxy:
        through, metrics, drain = await connect_pool(proxy.url, size=1, service="cut"), Metrics(), Drain(0)
        keeper = LeaseKeeper(dsn, "nats://127.0.0.1:1", "w", LEASE.secs, metrics)
        spans = Spans(Tracing(), "default")
        yield Hands(Settling(Runs(through), keeper, LEASE, metrics, spans, drain), keeper, drain, proxy)
        await through.close()


async def queued(pool: Pool, count: int) -> UUID:
    """A thread with so many runs."""
    thread_id = uuid4()
    for _ in range(count):
        await accepted(pool, thread_id)
    return thread_id


async def first_of(settling: Settling, thread_id: UUID) -> Run:
    claim, _ = await settling.claim(thread_id)
    assert claim.run is not None
    return claim.run


async def all_of(pool: Pool, thread_id: UUID) -> list[tuple[str, int, int]]:
    """Status, attempt and crashes of the thread's runs."""
    rows = await pool.fetch(
        "select status, attempt, crashes from treadle.run where thread_id = $1 order by seq", thread_id
    )
    return [tuple(row) for row in rows]


@asynccontextmanager
async def answer_lost(pool: Pool, proxy: Proxy, thread_id: UUID, statuses: list[str]) -> AsyncGenerator[None]:
    """Whoever takes a step on the thread in the block hears of it only that it is lost, longer than a lease after it was done.

    Args:
        statuses: of the thread's runs once it is.
    """

    async def waits() -> bool:
        return await pool.fetchval(WAITING)

    async def done() -> bool:
        return [status for status, *_ in await all_of(pool, thread_id)] == statuses

    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from treadle.thread where thread_id = $1 for update", thread_id)
        yield
        await eventually(waits)
        proxy.turn(Plain.HALF_OPEN, frozenset({Way.TO_CLIENT}))
    await eventually(done)
    # Not for anything to happen: for longer than a lease lasts.
    await asyncio.sleep(LEASE.secs * 1.5)
    proxy.turn(Plain.CUT)
    proxy.turn(Plain.PASS)


async def test_a_run_that_follows_after_an_outage_has_its_whole_lease(dsn: str, pool: Pool) -> None:
    """The lease counts from the claim that was answered: else its first node would run in vain, and once more."""
    thread_id = await queued(pool, 2)
    async with hands(dsn) as (settling, _, _, proxy):
        first = await first_of(settling, thread_id)
        async with proxy.turned(Plain.CUT):
            finishing = asyncio.create_task(settling.finish(ActiveRun(first), SUCCESS))
            # Not for anything to happen: for longer than a lease lasts.
            await asyncio.sleep(LEASE.secs * 1.5)
            back_at = time.monotonic()
        taken = await finishing
    assert taken is not None
    assert taken.claim.run is not None
    assert taken.since >= back_at


async def test_a_run_that_follows_has_its_whole_lease_though_the_answer_was_lost(
    dsn: str, pool: Pool
) -> None:
    thread_id = await queued(pool, 2)
    async with hands(dsn) as (settling, _, _, proxy):
        first = await first_of(settling, thread_id)
        async with answer_lost(pool, proxy, thread_id, ["success", "running"]):
            finishing = asyncio.create_task(settling.finish(ActiveRun(first), SUCCESS))
        back_at = time.monotonic()
        taken = await finishing
    assert taken is not None
    assert taken.claim.run is not None
    assert taken.since >= back_at
    assert (await Runs(pool).claim(thread_id, LEASE)).outcome == "leased"


async def test_a_claim_whose_answer_was_lost_for_longer_than_its_lease_is_no_crash(
    dsn: str, pool: Pool
) -> None:
    thread_id = await queued(pool, 1)
    async with hands(dsn) as (settling, _, _, proxy):
        async with answer_lost(pool, proxy, thread_id, ["running"]):
            claiming = asyncio.create_task(settling.claim(thread_id))
        back_at = time.monotonic()
        claim, since = await claiming
    assert claim.run is not None
    assert since >= back_at
    assert await all_of(pool, thread_id) == [("running", 1, 0)]


async def test_an_outcome_is_given_up_when_the_drain_is_over_though_the_lease_is_kept(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(draining, "LAST_STEP_SECS", 0.3)
    monkeypatch.setattr(steps, "LAST_TRIES_SECS", 0.3)
    async with hands(dsn) as (settling, keeper, drain, proxy):
        active = ActiveRun(await first_of(settling, await queued(pool, 1)))
        keeper.hold(active, None, time.monotonic() + 3600)
        async with proxy.turned(Plain.CUT):
            finishing = asyncio.create_task(settling.finish(active, SUCCESS))
            await eventually(lambda: said(caplog, "waiting for Postgres, for the outcome of run"))
            drain.begin()
            async with asyncio.timeout(10):
                assert await finishing is None
            async with asyncio.timeout(10):
                assert await settling.hand_back(active) is None
    assert await said(caplog, "is given up")
    assert await said(caplog, f"waiting for Postgres, to hand run {active.run.run_id} back")


async def said(caplog: pytest.LogCaptureFixture, what: str) -> bool:
    return what in caplog.text


async def test_an_outcome_for_which_postgres_has_no_memory_again_and_again_is_an_error(
    dsn: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "TOO_LARGE_SECS", 0.5)
    thread_id = await queued(pool, 1)
    await pool.execute(REFUSING)
    try:
        async with hands(dsn) as (settling, *_), asyncio.timeout(10):
            taken = await settling.finish(ActiveRun(await first_of(settling, thread_id)), SUCCESS)
    finally:
        await pool.execute(ACCEPTING)
    assert taken is not None
    [ended] = taken.claim.ended
    assert ended.status == "error"
    error = await pool.fetchval("select error from treadle.run where run_id = $1", ended.run_id)
    assert error["error"] == "OutcomeNotStorable"
