"""Everything that is said to Postgres about assistants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from treadle.db.pool import Pool
from treadle.db.rows import read
from treadle.model import Assistant, default_assistant_id

REGISTER = """
insert into treadle.assistant (assistant_id, graph_id, name, description, metadata)
values ($1, $2, $2, $3, '{"created_by": "system"}')
on conflict (assistant_id) do update set description = excluded.description
 where assistant.description is distinct from excluded.description
"""
GET = "select * from treadle.assistant where assistant_id = $1"
SEARCH = """
select * from treadle.assistant where ($1::text is null or graph_id = $1)
 order by created_at desc, assistant_id limit $2 offset $3
"""


class Assistants:
    """The assistants in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def register(self, graphs: Mapping[str, str | None]) -> None:
        """Give each graph (id -> description) its default assistant."""
        rows = [(default_assistant_id(graph), graph, description) for graph, description in graphs.items()]
        await self._pool.executemany(REGISTER, rows)

    async def get(self, assistant_id: UUID) -> Assistant | None:
        return _assistant(await self._pool.fetchrow(GET, assistant_id))

    async def search(self, graph_id: str | None, limit: int, offset: int) -> list[Assistant]:
        """Assistants, newest first."""
        return [read(Assistant, row) for row in await self._pool.fetch(SEARCH, graph_id, limit, offset)]


def _assistant(row: Any) -> Assistant | None:
    return None if row is None else read(Assistant, row)
