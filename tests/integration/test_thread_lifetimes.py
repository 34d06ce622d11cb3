"""Threads that have had their time: removed or pruned, unless something goes on on them."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from tests.integration.accepting import accepted
from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.checkpoint.pruning import Pruned, Pruning, PruningSaver
from treadle.db.pool import Pool
from treadle.db.runs import Lease, Outcome, Runs
from treadle.db.scope import EVERYWHERE
from treadle.db.threads import Threads
from treadle.db.together import Maker
from treadle.errors import Unavailable
from treadle.graphs.lifetime import ThreadTtl
from treadle.model import DEFAULT_TENANT, Ttl
from treadle_scheduler import lifetimes
from treadle_scheduler.lifetimes import BATCH, Lifetimes

REMOVED, PRUNED = Ttl("delete", 0), Ttl("keep_latest", 0)
NEVER_DUE = Ttl("delete", 60)
LEASE = Lease("w", 30, 3)
END_WAITING = """
select pg_terminate_backend(pid) from pg_stat_activity
 where application_name = 'treadle-pruned-checkpoints' and wait_event_type = 'Lock'
"""


class Listed(TypedDict):
    """Words, one after the other."""

    words: Annotated[list[str], operator.add]


def joined(words: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*words, *(word for write in writes for word in write)]


class Differing(TypedDict):
    """The same, kept as differences."""

    words: Annotated[list[str], DeltaChannel(joined)]


def say(state: Any) -> dict[str, Any]:
    return {"words": ["more"]}


class Place:
    """A database, and the duty on it."""

    def __init__(self, pool: Pool, checkpoints: ConnectionPool) -> None:
        self.pool, self.checkpoint_pool = pool, checkpoints
        self.threads, self.runs = Threads(pool), Runs(pool)
        self.pruning = Pruning(pool, PruningSaver(checkpoints))
        self.duty = Lifetimes(self.threads, self.pruning, ThreadTtl())
        self._saver = AsyncPostgresSaver(checkpoints)

    async def thread(self, ttl: Ttl | None = None) -> UUID:
        thread_id = uuid4()
        await self.threads.create(Maker(DEFAULT_TENANT), thread_id, {}, ttl)
        return thread_id

    async def ran(self, ttl: Ttl, state: type[Any] = Listed) -> tuple[UUID, Any]:
        """A thread on which a graph has run twice."""
        thread_id = await self.thread(ttl)
        graph = (
            StateGraph(state).add_node("say", say).add_edge(START, "say").compile(checkpointer=self._saver)
        )
        config: RunnableConfig = {"configurable": {"thread_id": str(thread_id)}}
        for _ in range(2):
            await graph.ainvoke({"words": ["hello"]}, config)
        return thread_id, await graph.aget_state(config)

    async def checkpoints(self, thread_id: UUID) -> list[str]:
        rows = await self.pool.fetch(
            "select checkpoint_id from checkpoints where thread_id = $1", str(thread_id)
        )
        return [row[0] for row in rows]

    async def there(self, *thread_ids: UUID) -> list[bool]:
        return [await self.threads.get(EVERYWHERE, thread_id) is not None for thread_id in thread_ids]


@pytest.fixture
async def place(pool: Pool, dsn: str) -> AsyncGenerator[Place]:
    async with checkpoint_pool(dsn, size=2, service="test") as checkpoints:
        yield Place(pool, checkpoints)


async def test_what_has_expired_is_removed_with_all_that_it_owns(place: Place) -> None:
    expired, _ = await place.ran(REMOVED)
    later, lasting = await place.thread(NEVER_DUE), await place.thread()
    assert await place.duty.round() == 1
    assert await place.there(expired, later, lasting) == [False, True, True]
    assert await place.checkpoints(expired) == []
    assert await place.duty.round() == 0


async def test_a_thread_whose_runs_go_on_never_expires(place: Place) -> None:
    pending, running = await place.thread(REMOVED), await place.thread(REMOVED)
    await accepted(place.pool, pending)
    await accepted(place.pool, running)
    claim = await place.runs.claim(running, LEASE)
    assert claim.run is not None
    assert await place.duty.round() == 0
    assert await place.there(pending, running) == [True, True]
    await place.runs.finish(claim.run, Outcome(status="success", resting="idle"), LEASE, claim_next=True)
    assert await place.duty.round() == 1
    assert await place.there(pending, running) == [True, False]


async def test_whatever_happens_on_a_thread_puts_its_end_off(place: Place) -> None:
    thread = await place.thread(Ttl("delete", 5))
    ends = [(await shown(place, thread)).expires_at]
    await place.threads.update(EVERYWHERE, thread, {"a": 1})
    ends.append((await shown(place, thread)).expires_at)
    await accepted(place.pool, thread)
    ends.append((await shown(place, thread)).expires_at)
    await place.threads.update(EVERYWHERE, thread, {}, Ttl("keep_latest", 10))
    changed = await shown(place, thread)
    ends.append(changed.expires_at)
    assert ends == sorted(set(ends), key=str)
    assert (changed.ttl_strategy, changed.ttl_minutes) == ("keep_latest", 10)


async def shown(place: Place, thread_id: UUID) -> Any:
    return await place.threads.get(EVERYWHERE, thread_id)


async def test_what_keeps_its_latest_state_is_pruned_once(place: Place) -> None:
    thread, newest = await place.ran(PRUNED)
    assert len(await place.checkpoints(thread)) > 1
    assert await place.duty.round() == 1
    assert await place.checkpoints(thread) == [newest.config["configurable"]["checkpoint_id"]]
    assert (await shown(place, thread)).expires_at is None
    assert await place.duty.round() == 0
    await place.threads.update(EVERYWHERE, thread, {})
    assert await place.duty.round() == 1


async def test_a_history_of_differences_is_left_whole(place: Place) -> None:
    thread, _ = await place.ran(PRUNED, Differing)
    before = await place.checkpoints(thread)
    assert await place.duty.round() == 0
    assert await place.checkpoints(thread) == before
    assert (await shown(place, thread)).expires_at is None  # it is not looked at again and again


async def test_histories_that_are_left_whole_hide_none_behind_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifetimes, "BATCH", 1)
    differing, _ = await place.ran(PRUNED, Differing)
    thread, newest = await place.ran(PRUNED)
    assert await place.threads.due_for_pruning(2) == [differing, thread]

    assert await place.duty.round() == 1

    assert await place.checkpoints(thread) == [newest.config["configurable"]["checkpoint_id"]]


async def test_a_thread_with_runs_is_not_pruned(place: Place) -> None:
    thread, _ = await place.ran(PRUNED)
    await accepted(place.pool, thread)
    assert await place.duty.round() == 0
    assert await place.pruning.keep_latest(EVERYWHERE, thread) is Pruned.LATER
    assert len(await place.checkpoints(thread)) > 1


async def test_a_sweep_ends_at_its_limit_and_the_next_one_goes_on(place: Place) -> None:
    threads = [await place.thread(REMOVED) for _ in range(5)]
    duty = Lifetimes(place.threads, place.pruning, ThreadTtl(sweep_limit=3))
    assert [await duty.round() for _ in range(3)] == [3, 2, 0]
    assert await place.there(*threads) == [False] * 5


async def test_a_sweep_without_a_limit_leaves_nothing_that_has_expired(place: Place) -> None:
    threads = await asyncio.gather(*(place.thread(REMOVED) for _ in range(2 * BATCH + 1)))
    assert await place.duty.round() == len(threads)


async def test_pruning_without_postgres_costs_its_round_and_nothing_else(place: Place) -> None:
    thread, _ = await place.ran(PRUNED)
    await place.checkpoint_pool.close()
    with pytest.raises(Unavailable, match=str(thread)):
        await place.duty.round()
    assert len(await place.checkpoints(thread)) > 1
    assert (await shown(place, thread)).expires_at is not None


def test_intervals_are_given_in_minutes() -> None:
    assert ThreadTtl(sweep_interval_minutes=2).sweep_interval_secs == 120
    assert ThreadTtl(default_ttl=1.5, strategy="keep_latest").default == Ttl("keep_latest", 1.5)
    assert ThreadTtl().default is None


async def test_a_prune_that_loses_its_connection_is_postgres_being_away(place: Place, dsn: str) -> None:
    """The scheduler goes on, and prunes the thread later."""
    thread_id, _ = await place.ran(PRUNED)
    async with checkpoint_pool(dsn, size=1, service="pruned") as checkpoints:
        pruning = Pruning(place.pool, PruningSaver(checkpoints))
        async with place.pool.acquire() as other, other.transaction():
            await other.execute("lock table checkpoints")
            going_on = asyncio.create_task(pruning.keep_latest(EVERYWHERE, thread_id))
            async with asyncio.timeout(30):
                while not await place.pool.fetchval(END_WAITING):
                    pass
            with pytest.raises(Unavailable):
                await going_on
        assert await pruning.keep_latest(EVERYWHERE, thread_id) is Pruned.DONE
    assert len(await place.checkpoints(thread_id)) == 1
