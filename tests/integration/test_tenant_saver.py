"""A run's checkpointer shows its tenant's checkpoints alone, be they kept in Postgres or by a checkpointer of the user's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.memory import InMemorySaver

from treadle.checkpoint.guarded import GuardedSaver
from treadle.checkpoint.pool import checkpoint_pool
from treadle.checkpoint.savers import CustomSavers, PostgresSavers, Savers
from treadle.checkpoint.tenancy import TenantSaver
from treadle.db.new_run import NewRun
from treadle.db.orphans import note_orphans
from treadle.db.pool import Pool
from treadle.db.runs import Lease, Runs
from treadle.db.scope import EVERYWHERE, Scope
from treadle.db.threads import Threads
from treadle.model import DEFAULT_TENANT, Run

TENANTS = ("acme", DEFAULT_TENANT, "acme/user-1")
# Of no thread.
ID = "8b97138b-44fb-4459-a5d2-2a98743033d9"
LEASE = Lease("worker", secs=60, max_crashes=10)


@pytest.fixture(params=["postgres", "custom"])
async def savers(request: pytest.FixtureRequest, pool: Pool, dsn: str) -> AsyncGenerator[Savers]:
    if request.param == "custom":
        await note_orphans(pool, wanted=True)
        yield CustomSavers(InMemorySaver(), pool, Runs(pool))
        await note_orphans(pool, wanted=False)
        return
    async with checkpoint_pool(dsn, size=4, service="test") as checkpoints:
        yield PostgresSavers(checkpoints, pool)


async def run_of(pool: Pool, tenant: str, thread_id: UUID | None = None) -> Run:
    """A new run of a tenant, in the hands of a worker."""
    new = NewRun(
        run_id=uuid4(),
        thread_id=thread_id or uuid4(),
        assistant_id=uuid4(),
        graph_id="g",
        kwargs={"tenant": tenant},
        if_not_exists="create",
        scope=Scope(tenant),
    )
    assert (await Runs(pool).create(new)).outcome == "created"
    run = (await Runs(pool).claim(new.thread_id, LEASE)).run
    assert run is not None
    return run


def place_of(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


async def put(saver: BaseCheckpointSaver[Any], thread: str, source: str) -> RunnableConfig:
    return await saver.aput(place_of(thread), empty_checkpoint(), {"source": source, "step": 1}, {})  # pyright: ignore


async def sources(saver: BaseCheckpointSaver[Any], thread: str | None) -> list[Any]:
    """Which checkpoints are there, by all the ways to ask for them; they are the same, and under the id that was asked for."""
    place = None if thread is None else place_of(thread)
    listed = [each async for each in saver.alist(place)]
    assert await asyncio.to_thread(lambda: [*saver.list(place)]) == listed
    if place is not None:
        newest = await saver.aget_tuple(place)
        assert await asyncio.to_thread(saver.get_tuple, place) == newest
        assert ([] if newest is None else [newest]) == listed[:1]
        assert {id_of(each) for each in listed} <= {thread}
    return [each.metadata.get("source") for each in listed]


def id_of(found: CheckpointTuple) -> str:
    return str(found.config.get("configurable", {})["thread_id"])


@pytest.mark.parametrize("name", ["user-1", "acme/user-1", "default/user-1", ID, ID.upper(), "%2F"])
async def test_what_a_tenant_keeps_under_a_name_is_there_for_its_runs_alone(
    pool: Pool, savers: Savers, name: str
) -> None:
    for tenant in TENANTS:
        saver = await savers.of_run(await run_of(pool, tenant))
        assert await sources(saver, name) == []
        written = await put(saver, name, tenant)
        assert written.get("configurable", {})["thread_id"] == name
        await saver.aput_writes(written, [("a", tenant)], "task")
        await saver.written()
    for tenant in TENANTS:
        saver = await savers.of_run(await run_of(pool, tenant))
        assert await sources(saver, name) == [tenant]
        found = await saver.aget_tuple(place_of(name))
        assert found is not None
        assert found.pending_writes == [("task", "a", tenant)]


async def test_a_thread_of_another_tenant_is_not_there(pool: Pool, savers: Savers) -> None:
    theirs = await run_of(pool, "acme")
    thread = str(theirs.thread_id)
    await put(await savers.of_run(theirs), thread, "theirs")
    for stranger in (DEFAULT_TENANT, "other"):
        saver = await savers.of_run(await run_of(pool, stranger))
        assert await sources(saver, thread) == []
        await asyncio.to_thread(saver.put, place_of(thread), empty_checkpoint(), {"source": stranger}, {})  # pyright: ignore
        assert await sources(saver, thread) == [stranger]
        await saver.adelete_thread(thread)
        assert await sources(saver, thread) == []
    ours = await run_of(pool, "acme")
    for saver in (await savers.of_run(ours), await savers.of_thread(theirs.thread_id)):
        assert await sources(saver, thread) == ["theirs"]


async def test_all_threads_are_the_own_one(pool: Pool, savers: Savers) -> None:
    await put(await savers.of_run(theirs := await run_of(pool, "acme")), str(theirs.thread_id), "theirs")
    ours = await run_of(pool, "acme")
    saver = await savers.of_run(ours)
    await put(saver, str(ours.thread_id), "ours")
    assert await sources(saver, None) == ["ours"]


async def test_a_thread_that_is_made_anew_in_another_tenant_has_nothing_of_before(
    pool: Pool, savers: Savers
) -> None:
    first, visitor = await run_of(pool, "acme"), await run_of(pool, "acme")
    thread, saver = str(first.thread_id), await savers.of_run(visitor)
    await put(saver, thread, "acme")
    assert await sources(saver, thread) == ["acme"]
    await Threads(pool).delete(EVERYWHERE, [first.thread_id])
    heir = await run_of(pool, "other", first.thread_id)
    assert await sources(await savers.of_run(heir), thread) == []
    await put(await savers.of_run(heir), thread, "other")
    assert await sources(saver, thread) == []


async def test_it_conforms_as_what_it_passes_on_to(pool: Pool) -> None:
    run = await run_of(pool, "acme")

    async def pass_all() -> None:
        return

    async def nothing_belongs(thread_id: UUID) -> bool:
        return False

    @checkpointer_test(name="TenantSaver")
    async def within() -> AsyncGenerator[TenantSaver]:
        yield TenantSaver(GuardedSaver(InMemorySaver(), pass_all), run, nothing_belongs)

    @checkpointer_test(name="GuardedSaver")
    async def bare() -> AsyncGenerator[GuardedSaver]:
        yield GuardedSaver(InMemorySaver(), pass_all)

    one, other = await validate(within), await validate(bare)
    assert {name: result.passed for name, result in one.results.items()} == {
        name: result.passed for name, result in other.results.items()
    }
