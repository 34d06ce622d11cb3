"""Everything that is said to Postgres about assistants.

What makes and changes them, with its versions, is in migrations/0003_assistants.sql.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from treadle import json
from treadle.db.pool import Pool
from treadle.db.rows import read
from treadle.db.scope import Scope, readable, sees
from treadle.model import Assistant, AssistantVersion, default_assistant_id

SortBy = Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"]
SortOrder = Literal["asc", "desc"]

REGISTER = "select treadle.register_assistant($1, $2, $3)"
CREATE = """
select * from treadle.create_assistant($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb, $7::text::jsonb, $8)
"""
PATCH = f"""
select changed.* from treadle.assistant a,
       lateral treadle.patch_assistant(a.assistant_id, $2, $3, $4, $5::text::jsonb, $6::text::jsonb, $7::text::jsonb) changed
 where a.assistant_id = $1 and {sees(8, "a")}
"""  # noqa: S608 - put together from constants
SET_LATEST = f"""
select changed.* from treadle.assistant a, lateral treadle.set_latest(a.assistant_id, $2) changed
 where a.assistant_id = $1 and {sees(3, "a")}
"""  # noqa: S608 - put together from constants
GET = f"select * from treadle.assistant a where assistant_id = $1 and {readable(2)}"  # noqa: S608 - as above
# `strpos` rather than `like`: a name may hold what would be a pattern.
MATCHES = f"""
 where ($1::text is null or graph_id = $1) and ($2::text is null or strpos(lower(name), lower($2)) > 0)
   and ($3::text is null or metadata @> $3::jsonb) and {readable(4)}
"""
SEARCH = (
    "select * from treadle.assistant a {matches} order by {column} {order}, assistant_id limit $6 offset $7"
)
COUNT = "select count(*) from treadle.assistant a {matches}"
VERSIONS = f"""
select v.* from treadle.assistant_version v join treadle.assistant a using (assistant_id)
 where assistant_id = $1 and ($2::text is null or v.metadata @> $2::jsonb) and {readable(5)}
 order by v.version desc limit $3 offset $4
"""  # noqa: S608 - put together from constants
DELETE = f"delete from treadle.assistant where assistant_id = $1 and {sees(2)} returning assistant_id"  # noqa: S608 - as above
# Threads that say to be this assistant's: those on which it ran last, and those that clients gave its id.
THREADS = f"""
select thread_id from treadle.thread where metadata @> $1 and {sees(3)} order by thread_id limit $2
"""  # noqa: S608 - put together from constants


class AssistantFields(msgspec.Struct, frozen=True, kw_only=True):
    """What of an assistant a client sets; in a change, None: as it is."""

    graph_id: str | None = None
    name: str | None = None
    description: str | None = None
    config: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class AssistantFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which assistants: of a graph, with a text in the name, with these metadata among theirs."""

    graph_id: str | None = None
    name: str | None = None
    metadata: dict[str, Any] | None = None

    @property
    def parameters(self) -> tuple[str | None, str | None, str | None]:
        return self.graph_id, self.name, _json(self.metadata or None)


class Assistants:
    """The assistants in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def register(self, graphs: Mapping[str, str | None]) -> None:
        """Give each graph (id -> description) its default assistant."""
        rows = [(default_assistant_id(graph), graph, description) for graph, description in graphs.items()]
        await self._pool.executemany(REGISTER, rows)

    async def create(self, tenant: str, assistant_id: UUID, fields: AssistantFields) -> Assistant | None:
        """Make an assistant and its first version; None when the id is taken."""
        name = fields.name or "Untitled"
        config, context, metadata = (
            _json(value or {}) for value in (fields.config, fields.context, fields.metadata)
        )
        return _assistant(
            await self._pool.fetchrow(
                CREATE,
                assistant_id,
                fields.graph_id,
                name,
                fields.description,
                config,
                context,
                metadata,
                tenant,
            )
        )

    async def patch(self, scope: Scope, assistant_id: UUID, fields: AssistantFields) -> Assistant | None:
        """Change an assistant, which makes a new version; metadata are merged. None when there is none."""
        changed = (_json(value) for value in (fields.config, fields.context, fields.metadata))
        return _assistant(
            await self._pool.fetchrow(
                PATCH, assistant_id, fields.graph_id, fields.name, fields.description, *changed, *scope
            )
        )

    async def set_latest(self, scope: Scope, assistant_id: UUID, version: int) -> Assistant | None:
        """Make an assistant again what it was at a version; None when there is no such version."""
        return _assistant(await self._pool.fetchrow(SET_LATEST, assistant_id, version, *scope))

    async def get(self, scope: Scope, assistant_id: UUID) -> Assistant | None:
        return _assistant(await self._pool.fetchrow(GET, assistant_id, *scope))

    async def delete(self, scope: Scope, assistant_id: UUID) -> bool:
        """Remove an assistant with its versions; False when there is none."""
        return await self._pool.fetchval(DELETE, assistant_id, *scope) is not None

    async def search(
        self,
        scope: Scope,
        wanted: AssistantFilter,
        limit: int,
        offset: int,
        *,
        sort_by: SortBy = "created_at",
        sort_order: SortOrder = "desc",
    ) -> list[Assistant]:
        """Assistants, newest first unless sorted otherwise."""
        statement = SEARCH.format(matches=MATCHES, column=sort_by, order=sort_order)
        rows = await self._pool.fetch(statement, *wanted.parameters, *scope, limit, offset)
        return [read(Assistant, row) for row in rows]

    async def count(self, scope: Scope, wanted: AssistantFilter) -> int:
        return await self._pool.fetchval(COUNT.format(matches=MATCHES), *wanted.parameters, *scope)

    async def versions(
        self, scope: Scope, assistant_id: UUID, metadata: dict[str, Any] | None, limit: int, offset: int
    ) -> list[AssistantVersion]:
        """The versions of an assistant, newest first."""
        rows = await self._pool.fetch(VERSIONS, assistant_id, _json(metadata or None), limit, offset, *scope)
        return [read(AssistantVersion, row) for row in rows]

    async def threads(self, scope: Scope, assistant_id: UUID, limit: int) -> Sequence[UUID]:
        """Threads whose metadata name the assistant."""
        named = {"assistant_id": str(assistant_id)}
        return [row[0] for row in await self._pool.fetch(THREADS, named, limit, *scope)]


def _assistant(row: Any) -> Assistant | None:
    return None if row is None else read(Assistant, row)


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.jsonb_text(json.encode(value))
