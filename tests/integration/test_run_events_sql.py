"""Run events in Postgres: written with what they tell of, in an order that can be read while others write."""

from __future__ import annotations

import asyncio
import random
from typing import Literal
from uuid import UUID, uuid4

import pytest

from tests.integration.run_protocol.bench import Bench, taken
from treadle.db.new_run import NewRun
from treadle.db.pool import Pool, transaction
from treadle.db.run_events import NotedEvent, RunEventOutbox
from treadle.db.runs import Outcome, Runs
from treadle.db.scope import EVERYWHERE, Scope
from treadle.db.threads import Threads
from treadle.messaging.connection import Nats
from treadle.messaging.run_events import RunEventPublisher, stream_config
from treadle.model import DEFAULT_TENANT, CancelAction, MultitaskStrategy, Run
from treadle.telemetry.metrics import Metrics
from treadle_scheduler.run_events import RunEvents

DAY_SECS = 86400.0


@pytest.fixture
def bench(pool: Pool) -> Bench:
    return Bench(pool)


async def waiting(pool: Pool, after: int = 0) -> list[NotedEvent]:
    return await RunEventOutbox(pool).waiting(after, 10_000, DAY_SECS)


async def noted(bench: Bench, run: Run | None = None) -> list[tuple[str, int]]:
    """(status, attempt) of the events of a run, or of all, in their order."""
    return [
        (event.status, event.attempt)
        for event in await waiting(bench.pool)
        if run is None or event.run_id == run.run_id
    ]


async def test_each_change_of_a_run_is_noted(bench: Bench) -> None:
    run = await bench.create()
    await bench.hand_back(await bench.claimed())
    await bench.end_lease(await bench.claimed())
    await bench.finish(await bench.claimed())

    assert await noted(bench) == [
        ("pending", 0),
        ("running", 1),
        ("pending", 1),
        ("running", 2),
        ("running", 3),
        ("success", 3),
    ]
    event = (await waiting(bench.pool))[0]
    assert (event.run_id, event.thread_id) == (run.run_id, run.thread_id)
    assert (event.assistant_id, event.graph_id) == (run.assistant_id, run.graph_id)
    assert abs((event.at - run.created_at).total_seconds()) < 1
    assert not event.too_old


@pytest.mark.parametrize("tenant", ["acme", DEFAULT_TENANT])
async def test_events_are_the_tenants_also_when_the_thread_is_gone(pool: Pool, tenant: str) -> None:
    kwargs = {"input": {"text": "a NUL: \0"}, **({} if tenant == DEFAULT_TENANT else {"tenant": tenant})}
    new = NewRun(
        run_id=uuid4(),
        thread_id=uuid4(),
        assistant_id=uuid4(),
        graph_id="g",
        kwargs=kwargs,
        if_not_exists="create",
        scope=Scope(tenant),
    )
    await Runs(pool).create(new)
    await Threads(pool).delete(EVERYWHERE, [new.thread_id])
    assert [(event.status, event.tenant) for event in await waiting(pool)] == [
        ("pending", tenant),
        ("rolled_back", tenant),
    ]


@pytest.mark.parametrize("status", ["error", "timeout", "interrupted"])
async def test_a_run_ends_with_its_outcome(
    bench: Bench, status: Literal["error", "timeout", "interrupted"]
) -> None:
    run = await bench.create()
    outcome = Outcome(status=status, resting="error", error=b'{"error":"E","message":"m"}')
    await bench.finish(await bench.claimed(), outcome)

    assert (await noted(bench, run))[-1] == (status, 1)


async def test_what_changes_neither_status_nor_attempt_is_not_noted(bench: Bench) -> None:
    run = await bench.create()
    await bench.claimed()
    await bench.pool.execute(
        "update treadle.run set metadata = '{\"a\": 1}', attempt = attempt, status = status"
    )
    await bench.cancel(run)

    assert await noted(bench) == [("pending", 0), ("running", 1)]


async def test_cancelled_runs_end_interrupted_or_rolled_back(bench: Bench) -> None:
    running, waits, gone = await bench.create(), await bench.create(), await bench.create()
    await bench.claimed()
    await bench.cancel(waits)
    await bench.cancel(gone, CancelAction.ROLLBACK)
    await bench.cancel(running, CancelAction.ROLLBACK)
    await bench.end_lease(running)
    await bench.claim()

    assert await noted(bench, waits) == [("pending", 0), ("interrupted", 0)]
    assert await noted(bench, gone) == [("pending", 0), ("rolled_back", 0)]
    assert await noted(bench, running) == [("pending", 0), ("running", 1), ("rolled_back", 1)]


async def test_the_end_of_one_run_is_noted_before_the_beginning_of_the_next(bench: Bench) -> None:
    first, second = await bench.create(), await bench.create()
    third = taken(await bench.finish(await bench.claimed()))
    assert third.run_id == second.run_id
    await bench.create(MultitaskStrategy.ROLLBACK)
    await bench.finish(third)

    assert await noted(bench) == [
        ("pending", 0),
        ("pending", 0),
        ("running", 1),
        ("success", 1),
        ("running", 1),
        ("pending", 0),
        ("rolled_back", 1),
        ("running", 1),
    ]
    assert (await noted(bench, first))[-1] == ("success", 1)


async def test_a_thread_takes_its_runs_along_and_those_that_had_ended_are_told_no_more(bench: Bench) -> None:
    ended, running, waits = await bench.create(), await bench.create(), await bench.create()
    await bench.finish(await bench.claimed())
    before = len(await waiting(bench.pool))

    await bench.threads.delete(EVERYWHERE, [bench.thread_id])

    removed = (await waiting(bench.pool))[before:]
    assert {(event.run_id, event.status, event.attempt) for event in removed} == {
        (running.run_id, "rolled_back", 1),
        (waits.run_id, "rolled_back", 0),
    }
    assert (await noted(bench, ended))[-1] == ("success", 1)


async def test_an_ended_run_is_removed_in_silence(bench: Bench) -> None:
    run = await bench.create()
    await bench.finish(await bench.claimed())
    await bench.runs.delete(EVERYWHERE, bench.thread_id, run.run_id)

    assert await bench.row(run) is None
    assert (await noted(bench))[-1] == ("success", 1)


async def test_an_event_that_is_committed_late_is_not_skipped(bench: Bench) -> None:
    other = Bench(bench.pool)
    async with transaction(bench.pool) as late:
        await late.execute("insert into treadle.thread (thread_id) values ($1)", bench.thread_id)
        await late.execute(
            "insert into treadle.run (run_id, thread_id, assistant_id, graph_id, kwargs)"
            " values ($1, $2, $1, 'late', '{}')",
            uuid4(),
            bench.thread_id,
        )
        await other.create()
        [early] = await waiting(bench.pool)
        assert early.thread_id == other.thread_id
        await RunEventOutbox(bench.pool).remove([early])

    [found] = await waiting(bench.pool)
    assert (found.graph_id, found.event_id < early.event_id) == ("late", True)


async def test_the_events_of_a_thread_become_visible_in_the_order_of_their_ids(pool: Pool) -> None:
    threads = [Bench(pool) for _ in range(2)]
    chance = random.Random(4)
    working = asyncio.gather(*(_anything(chance.choice(threads), chance.random()) for _ in range(400)))
    highest: dict[UUID, int] = {}
    seen: set[int] = set()
    while not working.done():
        for event in await waiting(pool):
            if event.event_id not in seen:
                assert event.event_id > highest.get(event.thread_id, 0)
                highest[event.thread_id] = event.event_id
                seen.add(event.event_id)
    await working
    assert len(seen) > 100


async def _anything(bench: Bench, chance: float) -> None:
    """Something that happens on a thread, as chance has it."""
    if chance < 0.4:
        await bench.ask(random.Random(chance).choice(list(MultitaskStrategy)[1:]))
    elif chance < 0.9:
        claim = await bench.claim()
        if claim.run is not None:
            await bench.finish(claim.run, claim_next=False)
    else:
        await bench.threads.delete(EVERYWHERE, [bench.thread_id])


# Emptying the outbox while NATS is away


def duty(pool: Pool, metrics: Metrics, max_age_secs: float) -> RunEvents:
    away = Nats("nats://127.0.0.1:4", name="test")
    publisher = RunEventPublisher(away, stream_config(max_age_secs, 0, 1))
    return RunEvents(RunEventOutbox(pool), publisher, metrics, 0.1, max_age_secs)


async def test_events_wait_for_nats_until_they_are_too_old(bench: Bench) -> None:
    metrics = Metrics()
    publishing = duty(bench.pool, metrics, DAY_SECS)
    await bench.create()
    await bench.claimed()
    await bench.pool.execute(
        "update treadle.run_event set at = at - interval '2 days' where status = 'pending'"
    )

    assert await publishing.round() == 1
    assert publishing.interval_secs == 1.0
    assert await noted(bench) == [("running", 1)]
    assert b"treadle_run_events_dropped_total 1.0" in metrics.render()
    assert b"treadle_run_events_publish_failures_total 1.0" in metrics.render()


async def test_nothing_waits_where_events_are_switched_off(bench: Bench) -> None:
    metrics = Metrics()
    publishing = duty(bench.pool, metrics, 0)
    await bench.pool.executemany(
        "insert into treadle.run_event (run_id, thread_id, assistant_id, attempt, status, graph_id)"
        " values ($1, $1, $1, 0, 'pending', 'g')",
        [(uuid4(),) for _ in range(1200)],
    )

    assert await publishing.round() == 1200
    assert await RunEventOutbox(bench.pool).depth() == 0
    assert b"treadle_run_events_dropped_total 0.0" in metrics.render()
