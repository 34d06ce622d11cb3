"""What acts once, in Postgres: one answer to a question, one cancel of a run."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.integration.run_protocol.bench import SUCCESS, Bench
from treadle.db.pool import Pool
from treadle.db.runs import Created
from treadle.db.scope import EVERYWHERE
from treadle.model import CancelAction, MultitaskStrategy, RunStatus

ONE, TWO = "0" * 31 + "1", "0" * 31 + "2"
ENQUEUE, REJECT, INTERRUPT = MultitaskStrategy.ENQUEUE, MultitaskStrategy.REJECT, MultitaskStrategy.INTERRUPT


@pytest.fixture
def bench(pool: Pool) -> Bench:
    return Bench(pool)


async def answer(bench: Bench, resume: Any, strategy: MultitaskStrategy = ENQUEUE, **kwargs: Any) -> Created:
    return await bench.ask(strategy, kwargs={"input": None, "command": {"resume": resume}, **kwargs})


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        pytest.param("yes", "yes", "answered", id="the same"),
        pytest.param("yes", "no", "answered", id="different ones"),
        pytest.param({ONE: "yes"}, {ONE: "no"}, "answered", id="to one question, by its id"),
        pytest.param({ONE: "yes"}, {TWO: "yes"}, "created", id="to two questions, by their ids"),
        pytest.param({ONE: "yes"}, {ONE: "yes", TWO: "yes"}, "answered", id="one of two questions"),
        pytest.param({ONE: "yes"}, "yes", "answered", id="one without an id"),
        pytest.param({"approved": True}, {"reason": "none"}, "answered", id="objects that are no ids"),
        pytest.param(False, "\0", "answered", id="odd ones"),
    ],
)
@pytest.mark.parametrize("begun", [False, True], ids=["that waits", "that is on"])
async def test_a_second_answer_behind_a_first(
    bench: Bench, first: Any, second: Any, outcome: str, begun: bool
) -> None:
    await answer(bench, first)
    if begun:
        await bench.claimed()

    assert (await answer(bench, second)).outcome == outcome


async def test_of_ten_answers_at_once_one_is_accepted(bench: Bench) -> None:
    await bench.create()

    made = await asyncio.gather(*(answer(bench, n) for n in range(10)))

    assert sorted(each.outcome for each in made) == ["answered"] * 9 + ["created"]


async def test_an_answer_to_a_run_that_still_asks_is_accepted(bench: Bench) -> None:
    await bench.create()
    await bench.claimed()

    assert (await answer(bench, "yes")).outcome == "created"


async def test_after_a_cancel_of_the_first_the_question_can_be_answered_again(bench: Bench) -> None:
    await answer(bench, "yes")
    first = await bench.claimed()
    await bench.runs.cancel(EVERYWHERE, bench.thread_id, first.run_id, CancelAction.INTERRUPT)

    assert (await answer(bench, "no")).outcome == "created"


async def test_inputs_and_goals_are_no_answers(bench: Bench) -> None:
    await answer(bench, "yes")

    for kwargs in ({"input": {"resume": "x"}}, {"command": {"goto": "a"}}, {"command": {"resume": None}}):
        assert (await bench.ask(ENQUEUE, kwargs=kwargs)).outcome == "created"


async def test_whoever_names_the_run_that_asked_is_too_late_after_another_one(bench: Bench) -> None:
    asking = await bench.create()
    await bench.runs.finish(await bench.claimed(), SUCCESS, bench.lease, claim_next=False)
    first = await answer(bench, "yes", REJECT, asked_by=str(asking.run_id))
    assert first.outcome == "created"
    await bench.runs.finish(await bench.claimed(), SUCCESS, bench.lease, claim_next=False)

    assert (await answer(bench, "yes", REJECT, asked_by=str(asking.run_id))).outcome == "answered"
    assert (await answer(bench, "yes", REJECT)).outcome == "created"


async def test_a_run_that_never_began_takes_no_question_away(bench: Bench) -> None:
    asking = await bench.create()
    await bench.runs.finish(await bench.claimed(), SUCCESS, bench.lease, claim_next=False)
    other = await bench.create()
    await bench.runs.cancel(EVERYWHERE, bench.thread_id, other.run_id, CancelAction.INTERRUPT)

    assert (await answer(bench, "yes", REJECT, asked_by=str(asking.run_id))).outcome == "created"


async def test_a_run_knows_the_answers_that_it_interrupted(bench: Bench) -> None:
    await answer(bench, "before")
    await bench.runs.finish(await bench.claimed(), SUCCESS, bench.lease, claim_next=False)
    first = (await answer(bench, "yes")).run
    await bench.claimed()
    second = (await answer(bench, "no", INTERRUPT)).run
    assert first is not None
    assert second is not None
    await bench.runs.finish(await running(bench), SUCCESS, bench.lease, claim_next=False)

    assert await bench.runs.answers_before(second) == [first.run_id]


async def running(bench: Bench) -> Any:
    [run] = [
        run for run in await bench.runs.of_thread(EVERYWHERE, bench.thread_id) if run.status == "running"
    ]
    return run


@pytest.mark.parametrize("then", list(CancelAction))
async def test_a_rollback_that_was_accepted_stays_one(bench: Bench, then: CancelAction) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.runs.cancel(EVERYWHERE, bench.thread_id, run.run_id, CancelAction.ROLLBACK)
    await bench.runs.cancel(EVERYWHERE, bench.thread_id, run.run_id, then)

    claim = await bench.runs.finish(run, SUCCESS, bench.lease, claim_next=False)

    assert [each.status for each in claim.ended] == ["rolled_back"]


async def test_a_cancel_that_races_the_claim_the_end_and_the_takeover_is_never_lost(bench: Bench) -> None:
    """Three hundred times, at random: accepted means that the run ends so; else the answer says that it had ended before."""
    chance = random.Random()
    seen: set[tuple[str, str]] = set()
    for _ in range(300):
        seen.add(await one_race(Bench(bench.pool), chance))
    assert {outcome for outcome, _ in seen} == {"ended", "signalled", "finished"}


async def one_race(bench: Bench, chance: random.Random) -> tuple[str, str]:
    run = await bench.create()
    action = chance.choice(list(CancelAction))
    one, other = chance.choice([(work, no_work), (taking_over, work), (handing_back, work), (work, work)])

    async def cancel() -> Any:
        await asyncio.sleep(chance.uniform(0, 0.012))
        if chance.random() < 0.5:
            return await bench.runs.cancel(EVERYWHERE, bench.thread_id, run.run_id, action)
        found = await bench.runs.cancel_some(
            EVERYWHERE, bench.thread_id, [RunStatus.PENDING, RunStatus.RUNNING], action
        )
        return found[0] if found else await bench.runs.cancel(EVERYWHERE, bench.thread_id, run.run_id, action)

    _, _, cancelled = await asyncio.gather(one(bench), other(bench), cancel())
    await work(bench)
    kept = await bench.runs.get(EVERYWHERE, bench.thread_id, run.run_id)
    if cancelled.outcome == "finished":
        assert kept is not None
        assert kept.status == "success"
    elif action is CancelAction.ROLLBACK:
        assert kept is None
    else:
        assert kept is not None
        assert kept.status == "interrupted"
    return cancelled.outcome, action


async def no_work(_: Bench) -> None:
    return


async def work(bench: Bench) -> None:
    """Claim and finish, as a worker does."""
    claim = await bench.runs.claim(bench.thread_id, bench.lease)
    if claim.run is not None:
        await bench.runs.finish(claim.run, SUCCESS, bench.lease, claim_next=False)


async def taking_over(bench: Bench) -> None:
    """Claim, die, and let another one take over."""
    claim = await bench.runs.claim(bench.thread_id, bench.lease)
    ended = "update treadle.lease set lease_until = clock_timestamp() - interval '1 s' where run_id = $1"
    if claim.run is not None:
        await bench.pool.execute(ended, claim.run.run_id)
    await work(bench)


async def handing_back(bench: Bench) -> None:
    """Claim, drain, and let another one take it up."""
    claim = await bench.runs.claim(bench.thread_id, bench.lease)
    if claim.run is not None:
        await bench.runs.hand_back(claim.run)
    await work(bench)
