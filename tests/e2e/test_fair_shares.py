"""Fair shares: whoever has much to do keeps nobody waiting who has little, and nobody has more at once than was agreed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import InternalServerError

from tests.e2e.auth import key_of
from tests.e2e.bus import kill
from tests.stack import GRAPHS, Stack, running_stack

SLOTS = 2
MANY = 200
# What workers may take before whoever comes: as many runs as they have slots, those that lie ready, and those on their way there.
AHEAD = 3 * SLOTS + 4
TENANTS = {"heavy": {"weight": 3}, "alone": {"concurrency": 1}, "steady": {"starts_per_minute": 120}}
# Of 120 in a minute, what may begin at once, and then in each second.
AT_ONCE, PER_SEC = 4, 2
PRIORITY = """
import json
from langgraph_sdk import Priority
priority = Priority()

@priority.assign
async def assign(ctx):
    said = ctx.run_metadata.get("said")
    if ctx.run_metadata.get("note"):
        with open(ctx.run_metadata["note"], "a") as note:
            note.write(json.dumps([ctx.user.identity, list(ctx.permissions), ctx.thread_id, ctx.thread_metadata,
                                   ctx.graph_id, ctx.cron_id]) + "\\n")
    if said == "raise":
        raise LookupError("no such customer")
    return said
"""
RUNS = """
select t.tenant, r.run_id, r.created_at, r.started_at, r.ended_at, r.metadata ->> 'label' as label
  from treadle.run r join treadle.thread t using (thread_id)
 where t.tenant = any($1::text[]) order by r.started_at, r.seq
"""


@asynccontextmanager
async def fair_stack(
    folder: Path, settings: Mapping[str, str] | None = None, **sections: Any
) -> AsyncGenerator[Stack]:
    """A Treadle of its own with few slots, whose clients have API keys."""
    served = json.loads(GRAPHS.read_text(encoding="utf-8"))["graphs"]
    graphs = {name: f"{GRAPHS.parent}/{served[name]}" for name in ("slow", "steps")}
    config = folder / "langgraph.json"
    config.write_text(json.dumps({"graphs": graphs, **sections}), encoding="utf-8")
    given = {
        "LANGGRAPH_CONFIG": str(config),
        "TREADLE_API_KEYS": "on",
        "N_JOBS_PER_WORKER": str(SLOTS),
        **(settings or {}),
    }
    async with running_stack("api", "worker", "scheduler", **given) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def limited(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stack]:
    async with fair_stack(tmp_path_factory.mktemp("limited"), tenants=TENANTS) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ranked(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stack]:
    folder = tmp_path_factory.mktemp("ranked")
    (folder / "ranks.py").write_text(PRIORITY, encoding="utf-8")
    async with fair_stack(folder, priority={"path": "./ranks.py:priority"}) as stack:
        yield stack


async def client_of(stack: Stack, tenant: str) -> LangGraphClient:
    [api] = stack.services("api")
    key = await key_of(stack, "--tenant", tenant, "--user", "ada")
    return get_client(url=api.url, api_key=key)


async def make_many(
    client: LangGraphClient, count: int, delay: float = 0.03, **fields: Any
) -> list[dict[str, Any]]:
    """Runs on threads of their own, accepted together."""
    run: Any = {"assistant_id": "slow", "input": {"delay": delay}, "on_completion": "keep", **fields}
    made: Any = await client.runs.create_batch([run] * count)
    return made


async def ended(client: LangGraphClient, runs: Sequence[dict[str, Any]]) -> None:
    async def one(run: dict[str, Any]) -> None:
        await client.runs.join(run["thread_id"], run["run_id"])

    async with asyncio.timeout(60):
        await asyncio.gather(*map(one, runs))


async def asked(stack: Stack, statement: str, *parameters: Any) -> Sequence[Any]:
    connection = await asyncpg.connect(stack.servers.postgres.url)
    try:
        return await connection.fetch(statement, *parameters)
    finally:
        await connection.close()


async def began_in_between(stack: Stack, many: str, lone: str) -> int:
    """Runs of one tenant that began while the only run of another one waited."""
    rows = await asked(stack, RUNS, [many, lone])
    [own] = [row for row in rows if row["tenant"] == lone]
    return sum(
        row["started_at"] is not None and own["created_at"] < row["started_at"] < own["started_at"]
        for row in rows
        if row["tenant"] == many
    )


async def test_a_lone_run_does_not_wait_for_the_many_of_another_tenant(ranked: Stack) -> None:
    many, lone = await client_of(ranked, "many"), await client_of(ranked, "lone")
    runs = await make_many(many, MANY)
    await lone.runs.wait(None, "slow", input={"delay": 0})
    assert await began_in_between(ranked, "many", "lone") <= AHEAD
    await ended(many, runs)


async def test_delayed_runs_that_come_due_together_wait_for_their_turn(ranked: Stack) -> None:
    many, lone = await client_of(ranked, "delayed"), await client_of(ranked, "prompt")
    runs = await make_many(many, MANY, after_seconds=1)
    await many.runs.join(runs[0]["thread_id"], runs[0]["run_id"])
    await lone.runs.wait(None, "slow", input={"delay": 0})
    assert await began_in_between(ranked, "delayed", "prompt") <= AHEAD
    await ended(many, runs)


async def test_tenants_have_turns_by_their_weights(limited: Stack) -> None:
    heavy, light = await client_of(limited, "heavy"), await client_of(limited, "light")
    [worker] = limited.services("worker")
    worker.pause()
    try:
        runs = await make_many(heavy, 60)
        others = await make_many(light, 60)
    finally:
        worker.resume()
    await ended(heavy, runs)
    await ended(light, others)
    began = [row["tenant"] for row in await asked(limited, RUNS, ["heavy", "light"])]
    # Before that, what lay ready when the second tenant came. Which of two begins first that are admitted together is up to the slots.
    while_both_wait = began[AHEAD : AHEAD + 40]
    assert 25 <= while_both_wait.count("heavy") <= 35


async def test_a_tenant_has_no_more_threads_in_work_than_it_may(limited: Stack) -> None:
    alone, other = await client_of(limited, "alone"), await client_of(limited, "other")
    runs = await make_many(alone, 12)
    await other.runs.wait(None, "slow", input={"delay": 0})
    await ended(alone, runs)
    rows = await asked(limited, RUNS, ["alone"])
    assert all(before["ended_at"] <= after["started_at"] for before, after in pairwise(rows))


async def test_a_tenant_begins_no_more_runs_in_a_minute_than_it_may(limited: Stack) -> None:
    steady = await client_of(limited, "steady")
    count = AT_ONCE + 3 * PER_SEC
    await ended(steady, await make_many(steady, count, delay=0))
    began = [row["started_at"] for row in await asked(limited, RUNS, ["steady"])]
    waited = (began[-1] - began[0]).total_seconds()
    assert waited >= (count - AT_ONCE - 1) / PER_SEC


async def test_what_goes_first_overtakes_what_goes_last_of_its_tenant(ranked: Stack) -> None:
    client = await client_of(ranked, "one-of-all")
    last = await make_many(client, 100, metadata={"said": {"priority": 5}})
    first = await make_many(client, 1, metadata={"said": {"priority": -5}, "label": "first"})
    await ended(client, first)
    rows = await asked(ranked, RUNS, ["one-of-all"])
    [own] = [row for row in rows if row["label"] == "first"]
    before = [
        row for row in rows if row["started_at"] and own["created_at"] < row["started_at"] < own["started_at"]
    ]
    assert len(before) <= AHEAD
    await ended(client, last)


async def test_the_function_hears_of_a_threads_first_run_only(ranked: Stack, tmp_path: Path) -> None:
    client, note = await client_of(ranked, "told"), tmp_path / "note"
    metadata = {"note": str(note), "said": {"priority": 3, "fairness_group": None}}
    thread = await client.threads.create(metadata={"plan": "premium"})
    for _ in range(2):
        await client.runs.wait(thread["thread_id"], "slow", input={"delay": 0}, metadata=metadata)
    await client.runs.wait(None, "slow", input={"delay": 0}, metadata=metadata)
    [of_thread, of_none] = [json.loads(line) for line in note.read_text(encoding="utf-8").splitlines()]
    assert of_thread[0] == of_none[0] == "ada"
    assert "run" in of_thread[1]
    assert of_thread[2:] == [thread["thread_id"], {"plan": "premium"}, "slow", None]
    assert of_none[2] is None
    [row] = await asked(
        ranked, "select priority from treadle.thread where thread_id = $1", thread["thread_id"]
    )
    assert row["priority"] == 3


@pytest.mark.parametrize(
    "said", ["raise", {"priority": 6}, {"priority": True}, {"rank": 1}, {"fairness_group": 1}]
)
async def test_a_function_that_fails_makes_no_run_and_says_why(ranked: Stack, said: Any) -> None:
    client = await client_of(ranked, "failing")
    thread = await client.threads.create()
    with pytest.raises(InternalServerError, match="priority"):
        await client.runs.create(thread["thread_id"], "slow", metadata={"said": said})
    assert await client.runs.list(thread["thread_id"]) == []
    assert await client.runs.wait(thread["thread_id"], "slow", input={"delay": 0})


async def test_what_is_cancelled_needs_no_turn(ranked: Stack) -> None:
    client = await client_of(ranked, "cancelled")
    runs = await make_many(client, 60, delay=30)
    await asyncio.gather(*(client.runs.cancel(run["thread_id"], run["run_id"]) for run in runs))
    await client.runs.wait(None, "slow", input={"delay": 0})
    await ended(client, runs)


async def test_turns_outlive_nats_and_whoever_gives_them(tmp_path: Path) -> None:
    # What NATS has not written when it is killed is the sweeper's.
    settings = {"TREADLE_LEASE_SECS": "2", "TREADLE_SWEEP_INTERVAL_SECS": "2"}
    async with fair_stack(tmp_path, settings) as stack:
        client = await client_of(stack, str(uuid4()))
        runs = await make_many(client, 60, delay=0.1)
        await kill(stack)
        await stack.services("scheduler")[0].kill()
        await stack.services("worker")[0].kill()
        await stack.servers.nats.start()
        await stack.start("worker", "scheduler")
        await ended(client, runs)
        assert {row["run_id"] for row in await asked(stack, "select run_id from treadle.turn")} == set()
