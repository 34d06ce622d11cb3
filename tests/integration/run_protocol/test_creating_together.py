"""Runs that are asked for in the same moment: each becomes what it would have become alone."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.integration.run_protocol.bench import Bench, held
from treadle.db.new_run import NewRun
from treadle.db.runs import Created
from treadle.db.scope import EVERYWHERE
from treadle.db.together import LARGE_BYTES, Maker
from treadle.model import DEFAULT_TENANT, MultitaskStrategy

LOCK = "select from treadle.thread where thread_id = $1 for no key update"


async def new_thread(bench: Bench) -> UUID:
    thread = await bench.threads.create(Maker(DEFAULT_TENANT), uuid4(), {})
    assert thread is not None
    return thread.thread_id


async def together(bench: Bench, *new: NewRun) -> list[Created]:
    return await asyncio.gather(*map(bench.runs.create, new))


async def transactions(bench: Bench, *created: Created) -> int:
    """In how many transactions these runs were made."""
    runs = [each.run.run_id for each in created if each.run is not None]
    return await bench.pool.fetchval(
        "select count(distinct xmin::text) from treadle.run where run_id = any($1)", runs
    )


async def test_runs_of_one_moment_share_a_transaction_and_keep_what_is_their_own(bench: Bench) -> None:
    threads = [await new_thread(bench) for _ in range(3)]
    new = [
        bench.new(thread_id=thread, if_not_exists="reject", kwargs={"input": f"\0{number}"})
        for number, thread in enumerate(threads)
    ]

    created = await together(bench, *new)

    assert await transactions(bench, *created) == 1
    for asked, made in zip(new, created, strict=True):
        assert made.run is not None
        assert (made.run.run_id, made.run.thread_id) == (asked.run_id, asked.thread_id)
        assert made.run.kwargs == asked.kwargs
        assert await bench.runs.get(EVERYWHERE, asked.thread_id, asked.run_id) == made.run


async def test_runs_of_one_thread_are_accepted_in_the_order_in_which_they_came(bench: Bench) -> None:
    thread = await new_thread(bench)

    created = await together(bench, *(bench.new(thread_id=thread) for _ in range(5)))

    order = [each.run.seq for each in created if each.run is not None]
    assert len(order) == 5
    assert order == sorted(order)


async def test_each_is_refused_for_its_own_reason(bench: Bench) -> None:
    thread = await new_thread(bench)

    created = await together(
        bench,
        bench.new(thread_id=thread),
        bench.new(thread_id=thread, strategy=MultitaskStrategy.REJECT),
        bench.new(thread_id=uuid4(), if_not_exists="reject"),
        bench.new(thread_id=thread, assistant_revision=uuid4()),
        bench.new(thread_id=uuid4(), stateless=True),
        bench.new(thread_id=uuid4(), if_not_exists="create"),
    )

    assert [each.outcome for each in created] == [
        "created", "busy", "thread_not_found", "assistant_changed", "created", "created",
    ]  # fmt: skip


async def test_a_run_that_cannot_be_made_leaves_the_others_alone(bench: Bench) -> None:
    threads = [await new_thread(bench) for _ in range(2)]
    before = await bench.create()
    new = [bench.new(thread_id=thread) for thread in threads]
    again = bench.new(thread_id=threads[0], run_id=before.run_id)

    results = await asyncio.gather(*map(bench.runs.create, [new[0], again, new[1]]), return_exceptions=True)

    assert isinstance(results[1], asyncpg.UniqueViolationError)
    for asked in new:
        assert await bench.runs.get(EVERYWHERE, asked.thread_id, asked.run_id) is not None


async def test_a_locked_thread_holds_up_only_its_own_run(bench: Bench) -> None:
    locked, free = await new_thread(bench), await new_thread(bench)
    async with bench.pool.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(LOCK, locked)
        waits = asyncio.create_task(bench.runs.create(bench.new(thread_id=locked)))
        goes = asyncio.create_task(bench.runs.create(bench.new(thread_id=free)))

        async with asyncio.timeout(10):
            assert (await goes).outcome == "created"
        assert await held(waits)
        await transaction.rollback()

    assert (await waits).outcome == "created"


@pytest.mark.parametrize("strategy", [MultitaskStrategy.INTERRUPT, MultitaskStrategy.ROLLBACK])
async def test_one_that_cancels_others_is_made_by_itself(bench: Bench, strategy: MultitaskStrategy) -> None:
    thread = await new_thread(bench)
    first = await bench.create(thread_id=thread)

    created = await together(
        bench,
        bench.new(thread_id=thread, strategy=strategy),
        bench.new(thread_id=await new_thread(bench)),
    )

    assert await transactions(bench, *created) == 2
    assert [each.run_id for each in created[0].cancelled] == [first.run_id]


async def test_a_large_one_is_made_by_itself(bench: Bench) -> None:
    large = bench.new(thread_id=await new_thread(bench), kwargs={"input": "x" * LARGE_BYTES})
    small = bench.new(thread_id=await new_thread(bench))

    assert await transactions(bench, *await together(bench, large, small)) == 2


async def test_runs_that_are_read_together_are_each_their_own(bench: Bench) -> None:
    runs = [await bench.create(thread_id=uuid4(), kwargs={"input": number}) for number in range(3)]

    found = await asyncio.gather(
        *(bench.runs.get(EVERYWHERE, run.thread_id, run.run_id) for run in runs),
        bench.runs.get(EVERYWHERE, runs[0].thread_id, runs[1].run_id),
        bench.runs.get(EVERYWHERE, runs[0].thread_id, runs[0].run_id),
    )

    assert found == [*runs, None, runs[0]]
