"""Cancels of runs that wait, that are on, and that are over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.run_protocol.bench import SUCCESS, Bench, ended, taken
from treadle.db.runs import HEARTBEAT, Outcome
from treadle.db.scope import EVERYWHERE
from treadle.model import CancelAction, MultitaskStrategy


@pytest.mark.parametrize("action", list(CancelAction))
@pytest.mark.parametrize("resting", ["idle", "interrupted", "error"])
async def test_a_run_that_never_began_leads_its_thread_back_to_where_it_was(
    bench: Bench, resting: Any, action: CancelAction
) -> None:
    await bench.create()
    await bench.finish(await bench.claimed(), Outcome(status="success", resting=resting))
    run = await bench.create()
    assert (await bench.thread()).status == "busy"

    await bench.cancel(run, action)

    assert (await bench.thread()).status == resting


@pytest.mark.parametrize(
    ("action", "status"), [(CancelAction.INTERRUPT, "interrupted"), (CancelAction.ROLLBACK, "rolled_back")]
)
async def test_a_pending_run_is_cancelled_at_once(bench: Bench, action: CancelAction, status: str) -> None:
    run = await bench.create()

    assert await bench.cancel(run, action) == ("ended", status)

    assert await bench.status(run) == (status if action is CancelAction.INTERRUPT else None)
    assert (await bench.thread()).status == "idle"
    assert (await bench.claim()).outcome == "idle"


async def test_a_running_run_is_marked_for_its_worker_who_sees_it_at_the_next_heartbeat(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()

    assert await bench.cancel(run) == ("signalled", "running")

    [beat] = await bench.pool.fetch(HEARTBEAT, [run.run_id], [1], timedelta(seconds=30))
    assert beat["cancel_action"] == "interrupt"


@pytest.mark.parametrize(
    ("action", "status"), [(CancelAction.INTERRUPT, "interrupted"), (CancelAction.ROLLBACK, "rolled_back")]
)
async def test_a_cancel_that_was_accepted_wins_over_how_the_graph_ended(
    bench: Bench, action: CancelAction, status: str
) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.cancel(run, action)

    claim = await bench.finish(run, SUCCESS)

    assert ended(claim) == [(run.run_id, status)]
    assert (await bench.thread()).status == "idle"


async def test_a_rollback_that_was_accepted_is_not_taken_back_by_an_interrupt(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.cancel(run, CancelAction.ROLLBACK)

    assert await bench.cancel(run, CancelAction.INTERRUPT) == ("signalled", "running")
    await bench.create(MultitaskStrategy.INTERRUPT)

    assert ended(await bench.finish(run)) == [(run.run_id, "rolled_back")]


async def test_a_cancelled_run_whose_worker_died_ends_without_another_attempt(bench: Bench) -> None:
    await bench.create()
    run, following = await bench.claimed(), await bench.create()
    await bench.cancel(run)
    await bench.end_lease(run)

    claim = await bench.claim()

    assert ended(claim) == [(run.run_id, "interrupted")]
    assert taken(claim).run_id == following.run_id
    row = await bench.row(run)
    assert row is not None
    assert row.error is None
    assert await bench.pool.fetch("select from treadle.dead_letter") == []


async def test_a_cancelled_run_that_is_handed_back_ends(bench: Bench) -> None:
    await bench.create()
    run = await bench.claimed()
    await bench.cancel(run)

    assert ended(await bench.hand_back(run)) == [(run.run_id, "interrupted")]


async def test_an_ended_run_and_an_unknown_one_cannot_be_cancelled(bench: Bench) -> None:
    run = await bench.create()
    await bench.finish(await bench.claimed())

    assert await bench.cancel(run) == ("finished", "success")
    assert (
        await bench.runs.cancel(EVERYWHERE, bench.thread_id, uuid4(), CancelAction.INTERRUPT)
    ).outcome == "not_found"
    assert (
        await bench.runs.cancel(EVERYWHERE, uuid4(), run.run_id, CancelAction.INTERRUPT)
    ).outcome == "not_found"
