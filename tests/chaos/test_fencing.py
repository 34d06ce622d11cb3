"""A worker that lost its run changes nothing any more, whatever it tries to write, and however late or close.

The proof: after (and at the very moment of) each way in which an attempt loses its run, it tries each kind of write; each is
refused by the database, or by Redis, and every row and every key is as before.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from tests.chaos import zombie
from tests.chaos.zombie import EVERY_LOSS, EVERY_WRITE, NAMESPACE, OTHER, PROTOCOL, SAVER, STORE, Hands, hands
from tests.stack import Stack, running_stack
from treadle.checkpoint.fenced import FencedSaver
from treadle.db.pool import transaction
from treadle.db.runs import Outcome
from treadle.db.scope import EVERYWHERE
from treadle.errors import Fenced
from treadle.store.postgres import PostgresStore

# Long enough for a statement to have come back, had nothing held it.
HELD_SECS = 0.3
SOON_SECS = 10


@pytest.fixture(scope="module")
async def stack() -> AsyncGenerator[Stack]:
    """Servers without services: nobody but the test writes."""
    async with running_stack() as stack:
        yield stack


@pytest.fixture(scope="module")
async def worker(stack: Stack) -> AsyncGenerator[Hands]:
    async with hands(stack) as made:
        await made.store.aput(NAMESPACE, "kept", {"by": "nobody"})
        yield made


@pytest.mark.parametrize("lose", EVERY_LOSS, ids=lambda lose: lose.__name__)
async def test_once_an_attempt_has_lost_its_run_every_write_of_it_is_refused(
    worker: Hands, lose: Any
) -> None:
    run = await worker.begun()
    await lose(worker, run)
    # What forms memories in the background may go on after the run that began it came to its end, by its own hand.
    tried = {**SAVER, **PROTOCOL} if lose is zombie.ended else EVERY_WRITE
    before = await worker.snapshot()

    for name, write in tried.items():
        assert await write(worker, run), f"{name} was not refused"
        assert await worker.snapshot() == before, f"{name} was refused, and changed something"


async def test_an_attempt_that_has_its_run_may_write_all_of_it(worker: Hands) -> None:
    """Or else what is refused above would prove nothing."""
    for name, write in {**SAVER, **STORE}.items():
        before = await worker.snapshot()
        assert not await write(worker, await worker.begun()), f"{name} was refused"
        assert await worker.snapshot() != before, name
    for name, write in PROTOCOL.items():
        assert not await write(worker, await worker.begun()), f"{name} was refused"
    await worker.store.aput(NAMESPACE, "kept", {"by": "nobody"})


async def test_what_a_run_left_to_be_remembered_after_its_end_is_kept(worker: Hands) -> None:
    run = await worker.begun()
    await zombie.ended(worker, run)

    await worker.store.fenced(run.run_id, run.attempt).aput(("late",), "memory", {"of": "the run"})

    item = await worker.store.aget(("late",), "memory")
    assert item is not None
    assert item.value == {"of": "the run"}


@pytest.mark.parametrize(
    "lose", [zombie.taken_over, zombie.deleted_with_its_thread], ids=lambda lose: lose.__name__
)
async def test_writes_that_meet_the_takeover_wait_for_it_and_are_refused(
    worker: Hands, monkeypatch: pytest.MonkeyPatch, lose: Any
) -> None:
    """All of them at once, each on a connection of its own, while the takeover has begun and not committed."""
    run = await worker.begun()
    await worker.end_lease(run)
    async with worker.pool.acquire() as taker:
        takeover = taker.transaction()
        await takeover.start()
        if lose is zombie.taken_over:
            await taker.fetch(
                "select treadle.claim($1, 'heir', $2, 10)", run.thread_id, timedelta(seconds=30)
            )
        else:
            await taker.fetch("select treadle.delete_threads($1)", [run.thread_id])
        writing = {name: asyncio.ensure_future(write(worker, run)) for name, write in EVERY_WRITE.items()}
        done, _ = await asyncio.wait(writing.values(), timeout=HELD_SECS)
        assert not done, [name for name, each in writing.items() if each in done]
        before = await worker.snapshot()
        await takeover.commit()
        after = await worker.snapshot()
        async with asyncio.timeout(SOON_SECS):
            told = {name: await each for name, each in writing.items()}
    assert [name for name, was_refused in told.items() if not was_refused] == []
    assert before != after == await worker.snapshot()


@pytest.mark.parametrize("kind", ["checkpoint", "store", "finish", "hand back"])
async def test_a_takeover_that_meets_a_write_waits_for_it_and_sees_it(
    stack: Stack, worker: Hands, kind: str
) -> None:
    run = await worker.begun()
    await worker.end_lease(run)
    ids = (run.thread_id, run.run_id, run.attempt)
    async with zombie.open_transaction(stack) as late, transaction(worker.pool) as later:
        match kind:
            case "checkpoint":
                saver = FencedSaver(worker.checkpoints, later, run.run_id, run.attempt)
                await saver.aput_writes(zombie.place(run, "", str(uuid4())), [("channel", "y")], "task")
            case "store":
                store = PostgresStore(cast(Any, late)).fenced(run.run_id, run.attempt)
                await store.aput(("close",), "key", {"by": "the older attempt"})
            case "finish":
                await late.execute(
                    "select treadle.finish(%s, %s, %s, 'success', null, null, null, null, 'idle', 'late', '30 s', 10, false)",
                    ids,
                )
            case _:
                await late.execute("select treadle.hand_back(%s, %s, %s)", ids)

        taking = asyncio.create_task(worker.runs.claim(run.thread_id, OTHER))
        done, _ = await asyncio.wait({taking}, timeout=HELD_SECS)
        assert not done, "the takeover did not wait for the write"
        await late.commit()
    claim = await asyncio.wait_for(taking, SOON_SECS)
    # One that has ended is not taken over; one that was handed back is begun anew, with no attempt lost.
    if kind == "finish":
        assert (claim.outcome, claim.run) == ("idle", None)
    else:
        assert claim.run is not None
        assert (claim.run.attempt, claim.run.crashes) == (2, 0 if kind == "hand back" else 1)


async def test_the_two_orders_at_random(worker: Hands) -> None:
    """A takeover and an outcome that set off together, 60 times: one of them has the run, and it is the one that is told so."""
    won: list[str] = []
    for n in range(60):
        run = await worker.begun()
        await worker.end_lease(run)
        done = Outcome(status="success", resting="idle", output=b'"of the first"')
        finishing = worker.runs.finish(run, done, OTHER, claim_next=False)
        taking = worker.runs.claim(run.thread_id, OTHER)
        pair = (finishing, taking) if n % 2 else (taking, finishing)
        answers = await asyncio.gather(*pair)
        finish, claim = answers if n % 2 else reversed(answers)
        kept = await worker.runs.get(EVERYWHERE, run.thread_id, run.run_id)
        assert kept is not None
        if finish.outcome == "fenced":
            assert (kept.status, kept.attempt, kept.output) == ("running", 2, None)
            assert claim.run is not None
        else:
            assert (kept.status, kept.attempt, kept.output) == ("success", 1, "of the first")
            assert claim.run is None
        won.append(finish.outcome)
    assert len(set(won)) == 2, "only one order has been seen"


async def test_no_one_hears_of_events_that_come_after_the_next_attempt_has_begun(worker: Hands) -> None:
    """Refused by Redis, by their ids: entries, the end, and what the followers of a thread are told."""
    run = await worker.begun()
    late = worker.writer(run)
    late.write("metadata", b"{}")
    await until_published(late, 1)
    heir = worker.writer(await replaced(worker, run))
    heir.write("metadata", b"{}")
    await until_published(heir, 1)
    before = await worker.snapshot()
    async with worker.redis.pubsub() as listening:
        await listening.psubscribe("treadle:*")
        await listening.get_message(timeout=SOON_SECS)

        late.write("values", b'"of a zombie"')
        await late.close({"status": "success"})
        fresh = worker.writer(
            run
        )  # one that begins anew with the old attempt: it would tell the thread's followers
        fresh.write("metadata", b"{}")
        await fresh.close({"status": "success"})

        assert await listening.get_message(timeout=HELD_SECS) is None
    assert await worker.snapshot() == before
    with pytest.raises(Fenced):
        late.write("values", b"1")
    heir.write("values", b"1")
    await heir.close({"status": "success"})
    assert heir.published == 3


async def replaced(worker: Hands, run: Any) -> Any:
    await worker.end_lease(run)
    return await worker.claimed(run.thread_id, OTHER)


async def until_published(writer: Any, count: int) -> None:
    async with asyncio.timeout(SOON_SECS):
        while writer.published < count:  # noqa: ASYNC110 - the writer tells nobody
            await asyncio.sleep(0.01)


async def test_puts_of_a_zombie_do_not_spoil_those_of_others(worker: Hands) -> None:
    """A store gathers what is put at the same time into one batch: what is refused takes nothing of others along."""
    lost, mine = await worker.begun(), await worker.begun()
    await zombie.taken_over(worker, lost)
    theirs, own = (worker.store.fenced(run.run_id, run.attempt) for run in (lost, mine))

    answers = await asyncio.gather(
        *itertools.chain.from_iterable(
            (
                theirs.aput(("shared",), str(n), {"by": "a zombie"}),
                own.aput(("shared",), str(n), {"by": "mine"}),
            )
            for n in range(5)
        ),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers] == [Fenced, type(None)] * 5
    found = await worker.store.asearch(("shared",))
    assert [item.value for item in found] == [{"by": "mine"}] * 5
