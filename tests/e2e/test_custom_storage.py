"""A checkpointer and a store of the user's own, named by langgraph.json."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

from tests.e2e.steps import begun, join, new_thread, values, wait
from tests.stack import GRAPHS, Stack, marks, running_stack

CUSTOM = GRAPHS.with_name("custom.json")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def custom() -> AsyncGenerator[Stack]:
    settings = {
        "LANGGRAPH_CONFIG": str(CUSTOM),
        "TREADLE_LEASE_SECS": "2",
        "TREADLE_SWEEP_INTERVAL_SECS": "0.5",
    }
    async with running_stack("api", **settings) as stack:
        await stack.start("worker", "scheduler")
        yield stack


@pytest.fixture
def own(custom: Stack) -> LangGraphClient:
    return custom.services("api")[0].client


@pytest_asyncio.fixture(loop_scope="session")
async def connection(custom: Stack) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(custom.servers.postgres.url)
    try:
        yield connection
    finally:
        await connection.close()


async def test_checkpoints_and_items_lie_where_the_user_keeps_them(
    own: LangGraphClient, connection: asyncpg.Connection
) -> None:
    thread, mine = await new_thread(own), ["own", str(uuid4())]
    await wait(own, thread, "steps", input={"text": "a"})
    await own.store.put_item(mine, "theirs", {"n": 1})
    ran = await wait(
        own, None, "remembering", input={"namespace": mine, "put": {"key": "ours", "value": {"n": 2}}}
    )
    assert sorted(key for key, _, _ in ran["found"]) == ["ours", "theirs"]
    assert (await own.store.get_item(mine, "ours"))["value"] == {"n": 2}
    for table in ("checkpoints", "store"):
        assert await connection.fetchval(f"select count(*) from public.{table}") == 0
        assert await connection.fetchval(f"select count(*) from apart.{table}") > 0


async def test_states_are_read_changed_and_copied(own: LangGraphClient) -> None:
    thread = await new_thread(own)
    await wait(own, thread, "steps", input={"text": "a"})
    history = await own.threads.get_history(thread, limit=100)
    assert history[0]["values"] == await values(own, thread)
    await own.threads.update_state(thread, {"text": "changed"})
    assert (await values(own, thread))["text"] == "changed"
    assert len(await own.threads.get_history(thread, limit=100)) == len(history) + 1
    await own.threads.copy(thread)
    copies = [
        each for each in await own.threads.search(limit=100) if each["values"] == await values(own, thread)
    ]
    copy = next(each["thread_id"] for each in copies if each["thread_id"] != thread)
    copied = await own.threads.get_history(copy, limit=100)
    assert [each["values"] for each in copied] == [
        each["values"] for each in await own.threads.get_history(thread, limit=100)
    ]


async def test_a_question_is_answered(own: LangGraphClient) -> None:
    thread = await new_thread(own)
    asked = await wait(own, thread, "approval", input={"text": "a"})
    assert asked["__interrupt__"]
    await wait(own, thread, "approval", command={"resume": "yes"})
    assert (await own.threads.get(thread))["status"] == "idle"


async def test_a_run_that_is_rolled_back_leaves_nothing(
    own: LangGraphClient, connection: asyncpg.Connection
) -> None:
    thread = await new_thread(own)
    await wait(own, thread, "slow", input={"delay": 0})
    before = await own.threads.get_history(thread, limit=100)
    stream = own.runs.stream(thread, "slow", input={"delay": 60}, stream_mode=["custom"], durability="sync")
    await begun(stream)
    run = (await own.runs.list(thread))[0]["run_id"]
    count = "select count(*) from apart.checkpoints where metadata ->> 'run_id' = $1"
    assert await connection.fetchval(count, run) > 0
    await own.runs.cancel(thread, run, wait=True, action="rollback")
    assert await own.threads.get_history(thread, limit=100) == before
    assert await connection.fetchval(count, run) == 0


async def test_a_removed_thread_is_removed_there_too(
    own: LangGraphClient, connection: asyncpg.Connection
) -> None:
    thread = await new_thread(own)
    await wait(own, thread, "steps", input={"text": "a"})
    await connection.execute("""
        create function apart.tell() returns trigger language plpgsql as $$
        begin perform pg_notify('removed', old.thread_id); return null; end $$;
        create trigger tell after delete on apart.checkpoints for each row execute function apart.tell()
    """)
    removed = asyncio.Queue[str]()

    def hear(_: Any, pid: int, channel: str, name: Any) -> None:
        removed.put_nowait(str(name))

    await connection.add_listener("removed", hear)
    await own.threads.delete(thread)
    async with asyncio.timeout(20):
        while await removed.get() != thread:
            continue
    with pytest.raises(NotFoundError):
        await own.threads.get_state(thread)
    # Under its old id it begins anew.
    await own.threads.create(thread_id=thread)
    await wait(own, thread, "steps", input={"text": "b"})
    texts = [
        cast(Any, each["values"]).get("text") for each in await own.threads.get_history(thread, limit=100)
    ]
    assert "A!" not in texts


async def test_a_run_goes_on_from_its_last_checkpoint_when_its_worker_dies(
    custom: Stack, own: LangGraphClient, tmp_path: Path
) -> None:
    log, gate = tmp_path / "marks", tmp_path / "gate"
    thread = await new_thread(own)
    stream = own.runs.stream(
        thread,
        "three_steps",
        input={"log": str(log), "gate": str(gate)},
        durability="sync",
        stream_mode=["custom"],
    )
    await begun(stream)
    heir, victim = await custom.worker(), custom.services("worker")[0]
    await victim.kill()
    gate.touch()
    await join(own, thread, (await own.runs.list(thread))[0])
    assert [(what, pid) for what, _, pid in marks(log)] == [
        ("prepare", victim.pid), ("dwell", victim.pid), ("dwell", heir.pid), ("conclude", heir.pid),
    ]  # fmt: skip


async def test_both_are_opened_once_per_process_and_closed_at_its_end(custom: Stack) -> None:
    worker = await custom.worker()
    assert await worker.stop() == 0
    own = [line for line in worker.log if line.startswith("own ")]
    assert sorted(own[:2]) == ["own checkpointer opened", "own store opened"]
    assert sorted(own[2:]) == ["own checkpointer closed", "own store closed"]
    assert "own checkpointer opened" in custom.services("api")[0].text
    assert cast(Any, custom.services("scheduler")[0]).text.count("own ") == 0
