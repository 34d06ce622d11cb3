"""What becomes of a run that is asked for, and of those that its thread has."""

from __future__ import annotations

import pytest

from tests.integration.run_protocol.bench import Bench, ended, taken
from treadle.db.scope import EVERYWHERE
from treadle.model import MultitaskStrategy


async def test_a_created_run_is_pending_and_makes_its_thread_busy(bench: Bench) -> None:
    run = await bench.create(metadata={"a": "b\0"}, thread_metadata={"graph_id": "agent"})

    assert (run.status, run.attempt, run.kwargs) == ("pending", 0, {"input": {"a": 1}})
    assert run.metadata == {"a": "b"}
    thread = await bench.thread()
    assert (thread.status, thread.metadata) == ("busy", {"graph_id": "agent"})


async def test_a_missing_thread_is_made_only_when_asked(bench: Bench) -> None:
    assert (await bench.ask(if_not_exists="reject")).outcome == "thread_not_found"
    assert (await bench.ask(if_not_exists="create")).outcome == "created"
    assert (await bench.ask(if_not_exists="reject")).outcome == "created"


async def test_reject_accepts_nothing_while_a_run_is_pending_or_running(bench: Bench) -> None:
    await bench.create()
    before = await bench.thread()

    assert (await bench.ask(MultitaskStrategy.REJECT)).outcome == "busy"
    running = await bench.claimed()
    assert (await bench.ask(MultitaskStrategy.REJECT)).outcome == "busy"

    assert len(await bench.runs.of_thread(EVERYWHERE, bench.thread_id)) == 1
    assert (await bench.thread()).updated_at == before.updated_at
    await bench.finish(running)
    assert (await bench.ask(MultitaskStrategy.REJECT)).outcome == "created"


async def test_enqueue_touches_no_other_run(bench: Bench) -> None:
    await bench.create()
    running = await bench.claimed()
    waiting = await bench.create()

    created = await bench.ask(MultitaskStrategy.ENQUEUE)

    assert created.cancelled == ()
    assert [await bench.status(run) for run in (running, waiting)] == ["running", "pending"]


@pytest.mark.parametrize(
    ("strategy", "left"),
    [(MultitaskStrategy.INTERRUPT, "interrupted"), (MultitaskStrategy.ROLLBACK, None)],
)
async def test_interrupt_and_rollback_stop_what_the_thread_has_and_run_next(
    bench: Bench, strategy: MultitaskStrategy, left: str | None
) -> None:
    await bench.create()
    running = await bench.claimed()
    waiting = await bench.create()

    created = await bench.ask(strategy)

    assert created.run is not None
    assert [(run.run_id, run.outcome) for run in created.cancelled] == [
        (running.run_id, "signalled"),
        (waiting.run_id, "ended"),
    ]
    assert [await bench.status(run) for run in (running, waiting)] == ["running", left]
    # The running one ends when its worker has stopped it, and the new one is next.
    claim = await bench.finish(running)
    assert ended(claim) == [(running.run_id, left or "rolled_back")]
    assert taken(claim).run_id == created.run.run_id
    assert await bench.status(running) == left
