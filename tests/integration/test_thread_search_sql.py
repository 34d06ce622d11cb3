"""How searches are executed: by an index, however many threads there are and however many match."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any, cast

import pytest
import pytest_asyncio

from tests.integration.conftest import at_the_server, url_of
from treadle import json
from treadle.db.pool import Connection, Pool, connect_pool
from treadle.db.scope import DEFAULT
from treadle.db.thread_search import (
    MATCHING,
    PLANNING,
    SortBy,
    Statement,
    ThreadFilter,
    ThreadPage,
    ThreadSearch,
    count_statement,
    page_statement,
)
from treadle.db.threads import DUE_FOR_PRUNING
from treadle.dev.servers import EmbeddedPostgres
from treadle.migrate import migrate

MANY = 100_000
# What a team's threads look like: one graph, some thousand users, an order of changes that is not that of creation.
FILL = """
insert into treadle.thread (thread_id, metadata, "values", status, created_at, updated_at, state_updated_at)
select gen_random_uuid(),
       jsonb_build_object('graph_id', 'agent', 'assistant_id', 'fe096781-5601-53d2-b2f6-0d3403f7e9ca',
                          'user', 'user-' || n % 5000, 'number', n),
       jsonb_build_object('messages', jsonb_build_array(repeat('word ', 40))),
       case when n % 100 = 0 then 'interrupted' else 'idle' end,
       now() - make_interval(secs => $1 - n), now() - make_interval(secs => $1 - n + 3600 * random()),
       now() - make_interval(secs => $1 - n)
  from generate_series(1, $1) n
"""
EVERY: dict[str, Any] = {"graph_id": "agent"}
SOME: dict[str, Any] = {"user": "user-77"}
ONE: dict[str, Any] = {"number": 4711}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def full(postgres: EmbeddedPostgres) -> AsyncGenerator[Pool]:
    """A database with many threads, and what the planner knows of them."""
    await at_the_server(postgres, "create database many template template0")
    dsn = url_of(postgres, "many")
    await migrate(dsn)
    pool = await connect_pool(dsn, size=2, service="test")
    await pool.execute(FILL, MANY)
    await pool.execute("vacuum analyze treadle.thread")
    yield pool
    await pool.close()
    await at_the_server(postgres, "drop database many with (force)")


async def planned(pool: Pool, wanted: ThreadFilter, page: ThreadPage) -> list[dict[str, Any]]:
    """The nodes of the plan by which a page was found."""
    async with pool.acquire() as connection, connection.transaction():
        return await explained(connection, await page_statement(connection, wanted, page))


async def explained(connection: Connection, statement: Statement) -> list[dict[str, Any]]:
    [plan] = await connection.fetchval(
        f"explain (analyze, format json) {statement.sql}", *statement.parameters
    )
    return list(nodes(plan["Plan"]))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in cast("list[dict[str, Any]]", plan.get("Plans", [])):
        yield from nodes(inner)


def indices(plan: list[dict[str, Any]]) -> set[str]:
    assert [node["Node Type"] for node in plan if node["Node Type"].endswith("Seq Scan")] == []
    return {node["Index Name"] for node in plan if "Index Name" in node}


@pytest.mark.parametrize("offset", [0, 50_000, MANY - 10])
async def test_a_filter_that_all_threads_match_is_read_in_order(full: Pool, offset: int) -> None:
    plan = await planned(
        full, ThreadFilter(scope=DEFAULT, metadata=EVERY), ThreadPage(limit=11, offset=offset)
    )
    assert indices(plan) == {"thread_of_tenant_by_update", "thread_pkey"}
    assert not [node for node in plan if node["Node Type"] == "Sort" and node["Actual Rows"] > 11]


@pytest.mark.parametrize("offset", [0, 10, 10_000])
@pytest.mark.parametrize("metadata", [SOME, ONE, {"user": "nobody"}, {**EVERY, **SOME}])
async def test_a_filter_that_few_threads_match_is_looked_up(
    full: Pool, metadata: dict[str, Any], offset: int
) -> None:
    plan = await planned(
        full, ThreadFilter(scope=DEFAULT, metadata=metadata), ThreadPage(limit=11, offset=offset)
    )
    assert indices(plan) == {"thread_metadata", "thread_pkey"}


# One in three was a draft when the planner looked, and it believes that of them still.
FORMER = """
insert into treadle.thread (thread_id, metadata, updated_at)
select gen_random_uuid(), case mod(n, 3) when 0 then '{"draft": true}' else '{}' end::jsonb, now() + random() * interval '1 hour'
  from generate_series(1, 20000) n;
analyze treadle.thread;
update treadle.thread set metadata = '{}' where metadata @> '{"draft": true}'
   and thread_id > (select thread_id from treadle.thread where metadata @> '{"draft": true}' order by 1 offset 4 limit 1);
"""


@pytest.mark.parametrize("offset", [0, 1000])
async def test_the_page_behind_the_last_of_few_matches_is_looked_up_too(pool: Pool, offset: int) -> None:
    """Who reads page by page until one is empty asks for it, and finds out that there is nothing by the matches alone."""
    await pool.execute("alter table treadle.thread set (autovacuum_enabled = off)")
    try:
        await pool.execute(FORMER)
        page = ThreadPage(limit=11, offset=offset)
        plan = await planned(pool, ThreadFilter(scope=DEFAULT, metadata={"draft": True}), page)
    finally:
        await pool.execute("alter table treadle.thread reset (autovacuum_enabled)")
    assert indices(plan) == {"thread_metadata", "thread_pkey"}


@pytest.mark.parametrize(
    ("sort_by", "index"),
    [
        ("thread_id", "thread_pkey"),
        ("created_at", "thread_of_tenant_by_creation"),
        ("updated_at", "thread_of_tenant_by_update"),
    ],
)
@pytest.mark.parametrize("descending", [True, False])
async def test_the_usual_orders_are_those_of_indexes(
    full: Pool, sort_by: SortBy, index: str, descending: bool
) -> None:
    page = ThreadPage(limit=11, offset=1000, sort_by=sort_by, descending=descending)
    assert indices(await planned(full, ThreadFilter(scope=DEFAULT), page)) == {index, "thread_pkey"}


@pytest.mark.parametrize("status", ["interrupted", "error"])
async def test_threads_that_wait_for_somebody_are_looked_up_in_the_order_of_changes(
    full: Pool, status: str
) -> None:
    wanted = ThreadFilter(scope=DEFAULT, status=status)
    plan = await planned(full, wanted, ThreadPage(limit=11, offset=900))
    assert indices(plan) == {"thread_of_tenant_waiting", "thread_pkey"}


@pytest.mark.parametrize("metadata", [None, EVERY, SOME])
async def test_counting_goes_by_an_index(full: Pool, metadata: dict[str, Any] | None) -> None:
    async with full.acquire() as connection, connection.transaction():
        await connection.execute(PLANNING)
        assert indices(
            await explained(connection, count_statement(ThreadFilter(scope=DEFAULT, metadata=metadata)))
        )


@pytest.mark.parametrize("metadata", [EVERY, SOME, ONE])
async def test_how_many_match_is_looked_up(full: Pool, metadata: dict[str, Any]) -> None:
    async with full.acquire() as connection, connection.transaction():
        await connection.execute(PLANNING)
        assert indices(await explained(connection, Statement(MATCHING, [json.text(metadata)])))


async def test_threads_that_have_expired_are_looked_up(full: Pool) -> None:
    async with full.acquire() as connection:
        plan = await explained(connection, Statement(DUE_FOR_PRUNING, [10]))
    assert indices(plan) == {"thread_expiry"}


async def test_pages_follow_each_other_without_gaps(full: Pool) -> None:
    search, wanted = ThreadSearch(full), ThreadFilter(scope=DEFAULT, metadata={"user": "user-1"})
    assert await search.count(wanted) == MANY // 5000
    pages = [
        await search.page(wanted, ThreadPage(limit=7, offset=offset, columns=("thread_id", "updated_at")))
        for offset in (0, 7, 14, 21)
    ]
    found = [thread for page in pages for thread in page]
    assert len({thread["thread_id"] for thread in found}) == len(found) == MANY // 5000
    assert found == sorted(found, key=lambda thread: thread["updated_at"], reverse=True)


async def test_a_thread_that_is_gone_is_not_found(pool: Pool) -> None:
    await pool.execute(
        "insert into treadle.thread (thread_id, stateless, gone_at) values (gen_random_uuid(), true, now())"
    )
    assert await ThreadSearch(pool).count(ThreadFilter(scope=DEFAULT)) == 0
    assert await ThreadSearch(pool).page(ThreadFilter(scope=DEFAULT), ThreadPage(limit=1)) == []


async def test_a_text_that_looks_like_sql_is_a_text(pool: Pool) -> None:
    odd = "'; drop table treadle.thread; --"
    await pool.execute(
        "insert into treadle.thread (thread_id, metadata) values (gen_random_uuid(), $1)", {odd: odd}
    )
    page = ThreadPage(limit=1, columns=("metadata",), extract={"a": ("metadata", [odd])})
    assert await ThreadSearch(pool).page(ThreadFilter(scope=DEFAULT, metadata={odd: odd}), page) == [
        {"metadata": {odd: odd}, "extracted": {"a": odd}}
    ]
