"""Finding threads: pages of a search, and counts.

Metadata have an index, and so have the orders of ids, creation and changes. Few matches are looked up and sorted; many are read in order until the
page is full. The wrong one of the two reads nearly every thread, and the planner guesses how many match from a sample
of the table: so they are counted first, as far as it matters. Values are compared thread by thread, on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast, get_args
from uuid import UUID

import msgspec

from treadle import json
from treadle.db.pool import Connection, Pool, transaction
from treadle.db.scope import Scope

SortBy: TypeAlias = Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"]
Column: TypeAlias = Literal[
    "thread_id",
    "created_at",
    "updated_at",
    "state_updated_at",
    "metadata",
    "status",
    "config",
    "values",
    "error",
    "interrupts",
]
COLUMNS: tuple[Column, ...] = get_args(Column)

# The first three are those of indexes (migrations/0023_tenants.sql), forwards or backwards; the others are sorted.
ORDERS: Mapping[SortBy, tuple[str, ...]] = {
    "thread_id": ("thread_id",),
    "created_at": ("created_at", "thread_id"),
    "updated_at": ("updated_at", "thread_id"),
    "status": ("status", "updated_at", "thread_id"),
    "state_updated_at": ("state_updated_at", "thread_id"),
}

# For the statements that follow. Their plans must fit the filter (so none is kept for all filters), reading the table
# from end to end never does, and what is searched often is in memory: a row elsewhere costs as much as the next one.
PLANNING = """
set local plan_cache_mode = force_custom_plan; set local enable_seqscan = off; set local random_page_cost = 1.1
"""
# Up to so many matches are few: to fetch and sort them takes milliseconds.
FEW = 1000
MATCHING = (
    f"select count(*) from (select from treadle.thread where metadata @> $1 limit {FEW + 1}) as matching"  # noqa: S608 - put together from constants
)

# The page is found by its keys alone; the wide rows are fetched for those that are on it.
SEARCH = """
select {columns}
  from (select thread_id from {source} order by {order} limit {limit} offset {offset}) as page
  join treadle.thread using (thread_id) order by {order}
"""
IN_ORDER = "treadle.thread where {condition}"
# The offset keeps the order outside: what matches is found first.
LOOKED_UP = """
(select thread_id, status, created_at, updated_at, state_updated_at
   from treadle.thread where {condition} offset 0) as matching
"""
COUNT = "select count(*) from treadle.thread where {condition}"


class ThreadFilter(msgspec.Struct, frozen=True, kw_only=True):
    """In which scope, and what threads must be like; None: whatever."""

    scope: Scope
    ids: Sequence[UUID] | None = None
    status: str | None = None
    metadata: Mapping[str, Any] | None = None
    values: Mapping[str, Any] | None = None


class ThreadPage(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of what is found is wanted, in which order, and what of each thread.

    `extract` names places inside of columns: alias -> (column, keys and indices from the outside in).
    """

    limit: int
    offset: int = 0
    sort_by: SortBy = "updated_at"
    descending: bool = True
    columns: Sequence[Column] = COLUMNS
    extract: Mapping[str, tuple[Column, Sequence[str]]] = {}


class Statement(msgspec.Struct, frozen=True):
    """SQL, and what its `$1`, `$2`, ... stand for."""

    sql: str
    parameters: Sequence[object]


class _Parameters:
    """Gives values their numbers."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def add(self, value: object) -> str:
        self.values.append(value)
        return f"${len(self.values)}"


class ThreadSearch:
    """Searches the threads in Postgres; those of stateless runs that have ended are not found."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, wanted: ThreadFilter, page: ThreadPage) -> list[dict[str, Any]]:
        """The threads on a page, as dicts of the wanted columns, with `extracted` where something is to be."""
        async with transaction(self._pool) as connection:
            statement = await page_statement(connection, wanted, page)
            rows = await connection.fetch(statement.sql, *statement.parameters)
        return [_found(dict(row), page) for row in rows]

    async def count(self, wanted: ThreadFilter) -> int:
        """How many threads there are."""
        async with transaction(self._pool) as connection:
            statement = count_statement(wanted)
            await connection.execute(PLANNING)
            return await connection.fetchval(statement.sql, *statement.parameters)


async def page_statement(connection: Connection, wanted: ThreadFilter, page: ThreadPage) -> Statement:
    """What finds a page, to be executed in the same transaction."""
    await connection.execute(PLANNING)
    if not wanted.metadata:
        return _search(wanted, page, IN_ORDER)
    matching = await connection.fetchval(MATCHING, _jsonb(wanted.metadata))
    return _search(wanted, page, LOOKED_UP if matching <= FEW else IN_ORDER)


def _search(wanted: ThreadFilter, page: ThreadPage, source: str) -> Statement:
    parameters = _Parameters()
    condition = _condition(wanted, parameters)
    way = "desc" if page.descending else "asc"
    extracted = (
        f'"{column}" #> {parameters.add(list(path))}::text[] as extracted_{number}'
        for number, (column, path) in enumerate(page.extract.values())
    )
    sql = SEARCH.format(
        columns=", ".join([*(f'"{column}"' for column in page.columns), *extracted]) or "thread_id",
        source=source.format(condition=condition),
        order=", ".join(f"{column} {way}" for column in ORDERS[page.sort_by]),
        limit=parameters.add(page.limit),
        offset=parameters.add(page.offset),
    )
    return Statement(sql, parameters.values)


def count_statement(wanted: ThreadFilter) -> Statement:
    """What counts all pages' threads."""
    parameters = _Parameters()
    return Statement(COUNT.format(condition=_condition(wanted, parameters)), parameters.values)


def _condition(wanted: ThreadFilter, parameters: _Parameters) -> str:
    conditions = ["gone_at is null", *_within(wanted.scope, parameters)]
    if wanted.ids:
        conditions.append(f"thread_id = any({parameters.add(wanted.ids)}::uuid[])")
    if wanted.status is not None:
        conditions.append(f"status = {parameters.add(wanted.status)}")
    if wanted.metadata:
        conditions.append(f"metadata @> {parameters.add(_jsonb(wanted.metadata))}::jsonb")
    if wanted.values:
        conditions.append(f'"values" @> {parameters.add(_jsonb(wanted.values))}::jsonb')
    return " and ".join(conditions)


def _within(scope: Scope, parameters: _Parameters) -> Iterator[str]:
    """A scope as conditions of which the first one is that of the indexes."""
    if scope.tenant is not None:
        yield f"tenant = {parameters.add(scope.tenant)}"
    if scope.conditions is not None:
        yield f"treadle.passes(metadata, {parameters.add(scope.conditions)}::text::jsonb)"


def _jsonb(value: Mapping[str, Any]) -> str:
    return json.jsonb_text(json.encode(value))


def _found(row: dict[str, Any], page: ThreadPage) -> dict[str, Any]:
    found = {name: row[name] for name in cast("Sequence[str]", page.columns)}
    if page.extract:
        found["extracted"] = {alias: row[f"extracted_{number}"] for number, alias in enumerate(page.extract)}
    return found
