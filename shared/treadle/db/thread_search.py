"""Finding threads: pages of a search, and counts.

Metadata are looked up in an index, and so is each order. Which of the two a search goes by is the planner's choice,
from what it knows of the filter: few matches are fetched and sorted, many are read in order until the page is full.
Values are compared thread by thread, on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast
from uuid import UUID

import msgspec

from treadle import json
from treadle.db.pool import Connection, Pool, transaction

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
COLUMNS: tuple[Column, ...] = (
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
)

# Each is the order of an index (migrations/0004_threads.sql), forwards or backwards.
ORDERS: Mapping[SortBy, tuple[str, ...]] = {
    "thread_id": ("thread_id",),
    "status": ("status", "updated_at", "thread_id"),
    "created_at": ("created_at", "thread_id"),
    "updated_at": ("updated_at", "thread_id"),
    "state_updated_at": ("state_updated_at", "thread_id"),
}

# For the statement that follows. The plan must fit the filter (so none is kept for all filters), reading the table
# from end to end never does, and what is searched often is in memory: a row elsewhere costs as much as the next one.
PLANNING = """
set local plan_cache_mode = force_custom_plan; set local enable_seqscan = off; set local random_page_cost = 1.1
"""

# The page is found by its keys alone; the wide rows are fetched for those that are on it.
SEARCH = """
select {columns}
  from (select thread_id from treadle.thread where {condition} order by {order} limit {limit} offset {offset}) as page
  join treadle.thread using (thread_id) order by {order}
"""
COUNT = "select count(*) from treadle.thread where {condition}"


class ThreadFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What threads must be like; None: whatever."""

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
        statement = search_statement(wanted, page)
        async with transaction(self._pool) as connection:
            rows = await _planned(connection, statement)
        return [_found(dict(row), page) for row in rows]

    async def count(self, wanted: ThreadFilter) -> int:
        """How many threads there are."""
        async with transaction(self._pool) as connection:
            [row] = await _planned(connection, count_statement(wanted))
        return row[0]


def search_statement(wanted: ThreadFilter, page: ThreadPage) -> Statement:
    """What finds a page."""
    parameters = _Parameters()
    condition = _condition(wanted, parameters)
    way = "desc" if page.descending else "asc"
    extracted = (
        f'"{column}" #> {parameters.add(list(path))}::text[] as extracted_{number}'
        for number, (column, path) in enumerate(page.extract.values())
    )
    sql = SEARCH.format(
        columns=", ".join([*(f'"{column}"' for column in page.columns), *extracted]) or "thread_id",
        condition=condition,
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
    conditions = ["gone_at is null"]
    if wanted.ids:
        conditions.append(f"thread_id = any({parameters.add(wanted.ids)}::uuid[])")
    if wanted.status is not None:
        conditions.append(f"status = {parameters.add(wanted.status)}")
    if wanted.metadata:
        conditions.append(f"metadata @> {parameters.add(_jsonb(wanted.metadata))}::jsonb")
    if wanted.values:
        conditions.append(f'"values" @> {parameters.add(_jsonb(wanted.values))}::jsonb')
    return " and ".join(conditions)


def _jsonb(value: Mapping[str, Any]) -> str:
    return json.jsonb_text(json.encode(value))


async def _planned(connection: Connection, statement: Statement) -> Sequence[Any]:
    await connection.execute(PLANNING)
    return await connection.fetch(statement.sql, *statement.parameters)


def _found(row: dict[str, Any], page: ThreadPage) -> dict[str, Any]:
    found = {name: row[name] for name in cast("Sequence[str]", page.columns)}
    if page.extract:
        found["extracted"] = {alias: row[f"extracted_{number}"] for number, alias in enumerate(page.extract)}
    return found
