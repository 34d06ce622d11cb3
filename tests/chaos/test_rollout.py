"""A rollout: two versions of the code on one schema, and each migration under the version before it.

The version before is the commit that `previous.txt` names, with its newest migration; each release moves it, to the commit that
is released. Its code comes from this repository's history. A shallow clone has none, and the test is skipped; `.ci/run` fails there.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.e2e.steps import Values, begun, events, eventually, join, new_thread, wait
from tests.marking import input_of, marked
from tests.stack import Service, Stack, marks
from treadle.dev.servers import temporary_servers
from treadle.migrate import Migration, apply, migrate, migrations

ROOT = Path(__file__).parents[2]
# The commit, and the newest migration that it knows.
PREVIOUS, newest = (Path(__file__).with_name("previous.txt")).read_text(encoding="utf-8").split()
PREVIOUS_MIGRATION = int(newest)
GRAPHS = ROOT / "tests" / "graphs" / "rollout.json"
FOLDERS = ("shared", "services/api", "services/worker", "services/scheduler")
SETTINGS = {"LANGGRAPH_CONFIG": str(GRAPHS), "TREADLE_LEASE_SECS": "2", "TREADLE_LEADER_LEASE_SECS": "1"}
# Whoever writes waits for a migration for no longer: all its locks last until it commits. They take a moment here; the
# rest is for a machine that is busy with other things.
HELD_SECS = 10.0
AT_ONCE = 4
PATIENCE_SECS = 60.0
# They grow with use: whatever reads them from end to end keeps writers out for minutes.
BIG = ("run", "thread", "checkpoints", "checkpoint_blobs", "checkpoint_writes", "store", "tick", "webhook")
MIGRATE = "import asyncio, sys; from treadle.migrate import migrate; asyncio.run(migrate(sys.argv[1]))"
SHAPES = """
select c.relname, c.relfilenode from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname in ('treadle', 'public') and c.relkind = 'r'
"""
INDEXES = """
select i.relname as name, t.relname as on_table from pg_index x
  join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
  join pg_namespace n on n.oid = t.relnamespace where n.nspname in ('treadle', 'public')
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings with which a service is that of the version before."""
    folder = tmp_path_factory.mktemp("previous")
    archive = subprocess.run(
        ["git", "archive", PREVIOUS, *FOLDERS], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(
            f"the commit {PREVIOUS} is not here, in a shallow clone for example: git fetch --unshallow"
        )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return {"PYTHONPATH": os.pathsep.join(str(folder / name) for name in FOLDERS)}


@asynccontextmanager
async def old_stack(old: dict[str, str]) -> AsyncGenerator[Stack]:
    """API, worker and scheduler of the version before, on its schema."""
    async with temporary_servers() as servers:
        command = (sys.executable, "-c", MIGRATE, servers.postgres.url)
        process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **old})
        assert await process.wait() == 0
        stack = Stack(servers, SETTINGS)
        try:
            await stack.start("api", "worker", "scheduler", **old)
            yield stack
        finally:
            await stack.close()


async def waits(service: Service) -> None:
    """Wait until a service says that it waits for the first migration that is new."""
    wanted = f"{PREVIOUS_MIGRATION + 1:04}_"

    async def said() -> bool:
        return wanted in service.text

    try:
        await eventually(said, PATIENCE_SECS)
    except TimeoutError:
        raise AssertionError(f"it does not wait for {wanted}:\n{service.text}") from None


class Load:
    """Clients that want something all the time, and note what they get."""

    def __init__(self, api: Service) -> None:
        self._api = api
        self._client = api.client
        self._over = asyncio.Event()
        self._answers: list[Values] = []
        self._answered = asyncio.Event()
        self._tasks = [asyncio.create_task(self._ask(), name=f"load-{n}") for n in range(AT_ONCE)]

    async def _ask(self) -> None:
        while not self._over.is_set():
            try:
                self._answers.append(await wait(self._client, None, "steps", input={"text": "a"}))
            except httpx.HTTPError as error:
                raise AssertionError(f"{error}:\n{self._api.text}") from error
            self._answered.set()

    async def go_on(self) -> None:
        """Wait until each client has had another run from its beginning to its end."""
        wanted = len(self._answers) + 2 * AT_ONCE
        async with asyncio.timeout(PATIENCE_SECS):
            while len(self._answers) < wanted:
                self._answered.clear()
                await self._answered.wait()

    async def end(self) -> list[Values]:
        self._over.set()
        await asyncio.gather(*self._tasks)
        return self._answers


async def applied(postgres: asyncpg.Connection, migration: Migration) -> None:
    """Take a step; fails when writers would wait for too long, here or where there are more rows."""
    shapes = {row["relname"]: row["relfilenode"] for row in await postgres.fetch(SHAPES)}
    indexes = {row["name"] for row in await postgres.fetch(INDEXES)}
    began = time.monotonic()
    await apply(postgres, migration)
    if migration.concurrent:
        return
    assert time.monotonic() - began < HELD_SECS, f"{migration.name} keeps its locks for too long"
    rewritten = {
        row["relname"]
        for row in await postgres.fetch(SHAPES)
        if shapes.get(row["relname"], row["relfilenode"]) != row["relfilenode"]
    }
    assert rewritten == set(), f"{migration.name} rewrites tables"
    built = [
        row
        for row in await postgres.fetch(INDEXES)
        if row["name"] not in indexes and row["on_table"] in shapes
    ]
    assert [row for row in built if row["on_table"] in BIG] == [], f"{migration.name} indexes what may be big"


async def test_a_version_replaces_the_one_before_while_runs_go_on(
    old: dict[str, str], tmp_path: Path
) -> None:
    async with old_stack(old) as stack, stack.database() as postgres:
        [old_api] = stack.services("api")
        [old_worker] = stack.services("worker")
        known = {row["version"] for row in await postgres.fetch("select version from treadle.migration")}
        assert max(known) == PREVIOUS_MIGRATION
        new_api = await stack.spawn("api")
        await waits(new_api)
        load = Load(old_api)
        for migration in migrations():
            if migration.version not in known:
                await applied(postgres, migration)
                await load.go_on()
        assert {answer["text"] for answer in await load.end()} == {"A!"}
        assert await migrate(stack.servers.postgres.url) == []

        await new_api.ready()
        await stack.scheduler()
        # Whoever of the version before is started again finds the new schema.
        await old_api.stop()
        [old_api] = await stack.start("api", **old)
        clients = old_api.client, new_api.client
        await use(clients)
        new_worker = await take_over(stack, clients, old_worker, tmp_path / "new.marks", {})
        await use(clients)
        old_worker = await take_over(stack, clients, new_worker, tmp_path / "old.marks", old)
        await use(clients)
        await stack.worker()
        await use(clients)
        rows = await postgres.fetch("select status, count(*)::int as runs from treadle.run group by status")
        assert {row["status"] for row in rows} <= {"success", "interrupted"}
        assert await postgres.fetchval("select count(*) from treadle.dead_letter") == 0


async def use(clients: tuple[LangGraphClient, LangGraphClient]) -> None:
    """Runs of one thread over both APIs: in order, streamed, interrupted and resumed, cancelled."""
    for first, second in (clients, clients[::-1]):
        thread = await new_thread(first)
        runs = [
            await client.runs.create(thread, "steps", input={"text": str(n)}, multitask_strategy="enqueue")
            for n, client in enumerate((first, second, first, second))
        ]
        for n, run in enumerate(runs):
            assert (await join(second, thread, run))["text"].startswith(str(n))
        told = await events(second.runs.stream(thread, "steps", input={"text": "s"}))
        assert (told[0][0], told[-1][0]) == ("metadata", "values")
        asked = await wait(first, thread, "approval", input={"text": "q"})
        assert "__interrupt__" in asked
        assert "__interrupt__" not in await wait(second, thread, "approval", command={"resume": "yes"})
        other = await new_thread(first)
        slow = await first.runs.create(other, "slow", input={"delay": 60}, stream_mode=["updates"])
        await begun(second.runs.join_stream(other, slow["run_id"]), "updates")
        await second.runs.cancel(other, slow["run_id"], wait=True)
        assert (await first.runs.get(other, slow["run_id"]))["status"] == "interrupted"


async def take_over(
    stack: Stack,
    clients: tuple[LangGraphClient, LangGraphClient],
    victim: Service,
    log: Path,
    heir: dict[str, Any],
) -> Service:
    """Kill a worker in the middle of a run for each API; the heir, of the other version, goes on with them."""
    gate = log.with_suffix(".gate")
    threads = [await new_thread(client) for client in clients]
    runs = [
        await client.runs.create(thread, "three_steps", input=input_of(log, gate), durability="sync")
        for client, thread in zip(clients, threads, strict=True)
    ]
    await marked(log, "dwell", len(runs))
    taker = await stack.worker(**heir)
    await victim.kill()
    gate.touch()
    for client, thread, run in zip(clients[::-1], threads, runs, strict=True):
        await join(client, thread, run)
    assert sorted((what, pid) for what, _, pid in marks(log)) == sorted(
        [("prepare", victim.pid), ("dwell", victim.pid), ("dwell", taker.pid), ("conclude", taker.pid)] * 2
    )
    return taker
