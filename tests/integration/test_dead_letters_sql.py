"""Dead letters of runs in Postgres: what becomes of a run that was given up, and is made once more."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from treadle.db.dead_letters import DeadRuns, Remade
from treadle.db.new_run import NewRun
from treadle.db.pool import Pool
from treadle.db.runs import Lease, Outcome, Runs
from treadle.db.scope import EVERYWHERE
from treadle.db.threads import Threads
from treadle.errors import Conflict
from treadle.model import Run, default_assistant_id

LEASE = Lease("worker", secs=0, max_crashes=1)
SUCCESS = Outcome(status="success", resting="idle", output=b"{}", values=b"{}")
ASSISTANT = uuid4()


class Bench:
    """A thread whose runs die."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.runs = Runs(pool)
        self.dead = DeadRuns(pool)
        self.thread_id = uuid4()

    async def create(self, delay_secs: float | None = None, **kwargs: object) -> Run:
        created = await self.runs.create(
            NewRun(
                run_id=uuid4(),
                thread_id=self.thread_id,
                assistant_id=ASSISTANT,
                graph_id="agent",
                kwargs={"input": {"a": "b\0"}, **kwargs},
                metadata={"mine": 1},
                thread_config={"tags": ["kept"]},
                route="gpu",
                if_not_exists="create",
                delay_secs=delay_secs,
            )
        )
        assert created.run is not None
        return created.run

    async def give_up(self) -> int:
        """Let the thread's next run lose its one worker; returns the id of its dead letter."""
        await self.runs.claim(self.thread_id, LEASE)
        await self.runs.claim(self.thread_id, LEASE)
        return (await self.dead.page(None, 1))[0].id

    async def come_due(self, run: Run) -> None:
        """As if the run's delay had passed."""
        past = "update treadle.run set not_before = clock_timestamp() - interval '1 ms' where run_id = $1"
        await self.pool.execute(past, run.run_id)

    async def execute(self) -> Run:
        """Let the thread's next run come to its end; returns it as it was claimed."""
        claim = await self.runs.claim(self.thread_id, LEASE)
        assert claim.run is not None
        await self.runs.finish(claim.run, SUCCESS, LEASE, claim_next=False)
        return claim.run

    async def remade(self, dead_id: int) -> Remade:
        made = await self.dead.remade(dead_id, uuid4(), uuid4())
        assert made is not None
        return made

    async def run(self, thread_id: UUID, run_id: UUID) -> Run:
        run = await self.runs.get(EVERYWHERE, thread_id, run_id)
        assert run is not None
        return run


@pytest.fixture
def bench(pool: Pool) -> Bench:
    return Bench(pool)


async def test_a_run_is_made_once_more_as_it_was_and_goes_on_where_it_got_to(bench: Bench) -> None:
    dead = await bench.create()
    made = await bench.remade(await bench.give_up())

    run = await bench.run(bench.thread_id, made.run_id)
    assert (made.thread_id, made.route, made.goes_on) == (bench.thread_id, "gpu", True)
    assert run.kwargs == {"input": {"a": "b\0"}, "continues": [str(dead.run_id)]}
    assert (run.assistant_id, run.metadata, run.status) == (ASSISTANT, {"mine": 1}, "pending")
    thread = await Threads(bench.pool).get(EVERYWHERE, bench.thread_id)
    assert thread is not None
    assert (thread.status, thread.config) == ("busy", {"tags": ["kept"]})
    assert await bench.dead.page(None, 10) == []


async def test_a_run_that_dies_again_remembers_all_in_whose_place_it_stands(bench: Bench) -> None:
    first = await bench.create()
    second = await bench.remade(await bench.give_up())
    third = await bench.remade(await bench.give_up())

    run = await bench.run(bench.thread_id, third.run_id)
    assert run.kwargs["continues"] == [str(first.run_id), str(second.run_id)]


async def test_a_run_that_was_passed_by_later_ones_begins_with_its_input(bench: Bench) -> None:
    await bench.create()
    await bench.create()
    dead_id = await bench.give_up()  # the claim that gave it up took the one behind it
    passed = await bench.remade(dead_id)

    assert not passed.goes_on
    assert "continues" not in (await bench.run(bench.thread_id, passed.run_id)).kwargs


async def test_a_run_that_was_passed_by_one_that_came_due_later_begins_with_its_input(bench: Bench) -> None:
    """That one was accepted before it."""
    delayed, _ = await bench.create(delay_secs=60), await bench.create()
    dead_id = await bench.give_up()
    await bench.come_due(delayed)
    assert (await bench.execute()).run_id == delayed.run_id

    assert not (await bench.remade(dead_id)).goes_on


async def test_a_run_that_another_one_waits_to_pass_begins_with_its_input(bench: Bench) -> None:
    """One that was accepted before it, and comes due at any time."""
    await bench.create(delay_secs=60)
    await bench.create()

    assert not (await bench.remade(await bench.give_up())).goes_on


async def test_a_run_that_others_were_before_goes_on_where_it_got_to(bench: Bench) -> None:
    """Accepted before it, or after it with less patience: all of them were over when it began."""
    early, delayed, late = await bench.create(), await bench.create(delay_secs=60), await bench.create()
    assert [(await bench.execute()).run_id for _ in range(2)] == [early.run_id, late.run_id]
    await bench.come_due(delayed)

    assert (await bench.remade(await bench.give_up())).goes_on


async def test_a_run_whose_thread_is_gone_is_made_on_a_thread_of_its_own(bench: Bench) -> None:
    await bench.create()
    dead_id = await bench.give_up()
    await Threads(bench.pool).delete(EVERYWHERE, [bench.thread_id])
    thread, assistant = uuid4(), default_assistant_id("agent")

    made = await bench.dead.remade(dead_id, uuid4(), thread)

    assert made is not None
    assert (made.thread_id, made.goes_on) == (thread, False)
    run = await bench.run(thread, made.run_id)
    assert (run.assistant_id, run.kwargs) == (assistant, {"input": {"a": "b\0"}})
    assert run.metadata == {"graph_id": "agent", "assistant_id": str(assistant)}
    assert await bench.pool.fetchval("select stateless from treadle.thread where thread_id = $1", thread)


async def test_a_dead_letter_is_retried_or_removed_once(bench: Bench) -> None:
    await bench.create()
    dead_id = await bench.give_up()

    assert await bench.dead.delete([dead_id, dead_id + 1]) == [dead_id]
    assert await bench.dead.delete([dead_id]) == []
    assert await bench.dead.get(dead_id) is None
    assert await bench.dead.remade(dead_id, uuid4(), uuid4()) is None


async def test_dead_letters_are_read_page_by_page_newest_first(bench: Bench) -> None:
    ids, runs = list[int](), list[UUID]()
    for _ in range(3):
        bench.thread_id = uuid4()
        runs.append((await bench.create()).run_id)
        ids.append(await bench.give_up())

    newest = await bench.dead.page(None, 2)
    assert [letter.id for letter in newest] == [ids[2], ids[1]]
    assert [letter.id for letter in await bench.dead.page(ids[1], 2)] == [ids[0]]
    assert (newest[0].run_id, newest[0].reason) == (runs[2], "worker lost 1 times")
    in_full = await bench.dead.get(ids[2])
    assert in_full is not None
    assert in_full.kwargs == {"input": {"a": "b\0"}}


async def test_an_answer_is_not_made_once_more_behind_another_one_to_the_same_question(bench: Bench) -> None:
    await bench.create(command={"resume": "yes"})
    dead_id = await bench.give_up()
    await bench.create(command={"resume": "no"})

    with pytest.raises(Conflict, match="another run answers"):
        await bench.remade(dead_id)

    assert [letter.id for letter in await bench.dead.page(None, 10)] == [dead_id]
