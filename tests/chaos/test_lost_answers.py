"""A step that Postgres has committed, and whose answer never comes: it is neither taken for an error nor taken twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest_asyncio

from tests.chaos.proxy import Plain, Way
from tests.chaos.site import Site
from tests.chaos.weathering import proxied_site
from tests.e2e.steps import eventually, join, new_thread
from tests.notices import notices
from tests.stack import marks

WAITING = """
select count(*) from pg_stat_activity
 where application_name = $1 and wait_event_type = 'Lock' and query like '%' || $2 || '%'
"""
STATUSES = "select array_agg(status order by seq) from treadle.run where thread_id = $1"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site() -> AsyncGenerator[Site]:
    async with proxied_site() as site:
        yield site


@asynccontextmanager
async def answer_lost(
    site: Site, service: str, step: str, thread: str, made: list[str]
) -> AsyncGenerator[None]:
    """Whoever takes this step on the thread in the block has it committed and does not hear of it; then the connection breaks.

    Args:
        made: the statuses of the thread's runs once it is committed.
    """
    link, dsn = site.links[service, "postgres"], site.stack.servers.postgres.url
    async with site.stack.database() as database, notices(dsn, ["treadle.run"]) as told:

        async def waits() -> bool:
            return await look.fetchval(WAITING, f"treadle-{service}", step) > 0

        async def committed() -> bool | None:
            return await look.fetchval(STATUSES, thread) == made or None

        look = await asyncpg.connect(dsn)
        try:
            async with database.transaction():
                await database.execute("select from treadle.thread where thread_id = $1 for update", thread)
                yield
                await eventually(waits)
                link.turn(Plain.HALF_OPEN, frozenset({Way.TO_CLIENT}))
            await told.until(committed)
        finally:
            await look.close()
            link.turn(Plain.CUT)
            link.turn(Plain.PASS)


async def test_a_run_is_accepted_once(site: Site, tmp_path: Path) -> None:
    client = site.linked("api").client
    thread = await new_thread(client)
    given = {"log": str(tmp_path / "marks"), "label": "run"}
    site.linked("worker").pause()
    try:
        async with answer_lost(site, "api", "create_run", thread, ["pending"]):
            creating = asyncio.create_task(client.runs.create(thread, "marked", input=given))
        run = await creating
    finally:
        site.linked("worker").resume()
    await join(client, thread, run)
    assert [each["run_id"] for each in await client.runs.list(thread)] == [run["run_id"]]
    assert [what for what, *_ in marks(tmp_path / "marks")] == ["start", "end"]


async def test_a_run_that_was_claimed_begins_in_its_first_attempt(site: Site, tmp_path: Path) -> None:
    client = site.linked("api").client
    thread = await new_thread(client)
    given = {"log": str(tmp_path / "marks"), "label": "run"}
    site.linked("worker").pause()
    run = await client.runs.create(thread, "marked", input=given)
    async with answer_lost(site, "worker", "treadle.claim", thread, ["running"]):
        site.linked("worker").resume()
    await join(client, thread, run)
    assert await attempts(site, thread) == [("success", 1, 0)]


async def test_a_run_that_has_ended_is_followed_by_the_next(site: Site, tmp_path: Path) -> None:
    client = site.linked("api").client
    thread = await new_thread(client)
    log, gate = tmp_path / "marks", tmp_path / "gate"
    given = {"log": str(log), "gate": str(gate)}
    runs = [
        await client.runs.create(
            thread, "three_steps", input={**given, "label": label}, multitask_strategy="enqueue"
        )
        for label in ("first", "second")
    ]
    await eventually(lambda: _dwells(log))
    async with answer_lost(site, "worker", "treadle.finish", thread, ["success", "running"]):
        gate.touch()
    for run in runs:
        await join(client, thread, run)
    assert await attempts(site, thread) == [("success", 1, 0)] * 2
    steps = ("prepare", "dwell", "conclude")
    assert [(label, what) for what, label, _ in marks(log)] == [
        (label, what) for label in ("first", "second") for what in steps
    ]


async def _dwells(log: Path) -> bool:
    return any(what == "dwell" for what, *_ in marks(log))


async def attempts(site: Site, thread: str) -> list[tuple[str, int, int]]:
    """Status, attempt and crashes of the thread's runs."""
    async with site.stack.database() as database:
        rows = await database.fetch(
            "select status, attempt, crashes from treadle.run where thread_id = $1 order by seq", thread
        )
    return [tuple(row) for row in rows]
