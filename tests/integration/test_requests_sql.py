"""A request makes one run, however often and from how many sides it comes. The statements alone."""

from __future__ import annotations

import asyncio
from typing import Any, Literal
from uuid import UUID, uuid4

from treadle.db.new_run import NewRun
from treadle.db.pool import Pool
from treadle.db.requests import RequestNames
from treadle.db.runs import RequestKey, Runs
from treadle.db.scope import EVERYWHERE
from treadle.model import CancelAction, MultitaskStrategy

KEY = RequestKey("orders", "1")


def new(
    thread_id: UUID | None = None, if_not_exists: Literal["create", "reject"] = "create", **fields: Any
) -> NewRun:
    known: dict[str, Any] = {
        "run_id": uuid4(),
        "thread_id": thread_id or uuid4(),
        "assistant_id": uuid4(),
        "graph_id": "agent",
        "kwargs": {"input": {"a": 1}},
        "if_not_exists": if_not_exists,
    }
    return NewRun(**{**known, **fields})


async def counted(pool: Pool) -> tuple[int, int]:
    """Runs and requests."""
    return await pool.fetchval("select count(*) from treadle.run"), await pool.fetchval(
        "select count(*) from treadle.request"
    )


async def test_the_second_request_of_a_name_answers_what_the_first_made(pool: Pool) -> None:
    runs = Runs(pool)
    first = await runs.create_once(new(), KEY)
    assert (first.created is not None, first.run is not None) == (True, True)

    again = await runs.create_once(new(), KEY)

    assert again.created is None
    assert (again.run_id, again.thread_id, again.run) == (first.run_id, first.thread_id, first.run)
    assert await runs.requested(KEY) == again
    assert await counted(pool) == (1, 1)


async def test_other_sources_have_names_of_their_own(pool: Pool) -> None:
    runs = Runs(pool)
    made = [await runs.create_once(new(), RequestKey(source, "1")) for source in ("orders", "bills")]
    assert all(each.created for each in made)
    assert await counted(pool) == (2, 2)
    assert await runs.requested(RequestKey("letters", "1")) is None


async def test_a_name_outlives_its_run(pool: Pool) -> None:
    runs = Runs(pool)
    first = await runs.create_once(new(), KEY)
    await runs.cancel(EVERYWHERE, first.thread_id, first.run_id, CancelAction.ROLLBACK)

    again = await runs.create_once(new(), KEY)

    assert (again.created, again.run, again.run_id) == (None, None, first.run_id)
    assert await runs.requested(KEY) == again


async def test_many_at_once_make_one_run(pool: Pool) -> None:
    runs = Runs(pool)
    made = await asyncio.gather(*(runs.create_once(new(), KEY) for _ in range(40)))
    assert len({each.run_id for each in made}) == 1
    assert sum(each.created is not None for each in made) == 1
    assert await counted(pool) == (1, 1)


async def test_a_refused_run_leaves_no_name(pool: Pool) -> None:
    runs = Runs(pool)
    thread_id = uuid4()
    unknown = await runs.create_once(new(thread_id, "reject"), KEY)
    changed = await runs.create_once(new(thread_id, assistant_revision=uuid4()), KEY)
    await runs.create(new(thread_id))
    busy = await runs.create_once(new(thread_id, strategy=MultitaskStrategy.REJECT), KEY)

    outcomes = [each.created and each.created.outcome for each in (unknown, changed, busy)]
    assert outcomes == ["thread_not_found", "assistant_changed", "busy"]
    assert await runs.requested(KEY) is None

    accepted = await runs.create_once(new(thread_id), KEY)
    assert accepted.created is not None
    assert accepted.created.outcome == "created"
    assert await counted(pool) == (2, 1)


async def test_names_are_forgotten_oldest_first_a_batch_at_a_time(pool: Pool) -> None:
    runs, names = Runs(pool), RequestNames(pool)
    for number in range(5):
        await runs.create_once(new(), RequestKey("orders", str(number)))
    await pool.execute(
        "update treadle.request set accepted_at = accepted_at - interval '2 days' where message_id <> '4'"
    )

    assert [await names.forget(86_400, 3) for _ in range(3)] == [3, 1, 0]

    assert await counted(pool) == (5, 1)
    assert await runs.requested(RequestKey("orders", "4")) is not None
    again = await runs.create_once(new(), RequestKey("orders", "0"))
    assert again.created is not None
