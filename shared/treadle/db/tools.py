"""Assistants as tools: each under a name of its own, whatever their owners call them."""

from __future__ import annotations

import re
from typing import NamedTuple

from treadle.db.pool import Pool
from treadle.db.rows import read
from treadle.db.scope import Scope, readable
from treadle.model import Assistant

# The oldest of those that are called the same keeps the plain name; the others end with the end of their id.
LIST = f"""
select a.*, case when row_number() over (partition by treadle.tool_name(a.name) order by a.created_at, a.assistant_id) = 1
                 then treadle.tool_name(a.name)
                 else treadle.tool_name(a.name) || '-' || right(a.assistant_id::text, 8) end as tool
  from treadle.assistant a where {readable(3)} order by a.created_at desc, a.assistant_id limit $1 offset $2
"""  # noqa: S608 - put together from constants
OLDEST_NAMED = f"""
select * from treadle.assistant a where treadle.tool_name(name) = $1 and {readable(2)}
 order by created_at, assistant_id limit 1
"""  # noqa: S608 - put together from constants
WITH_SUFFIX = f"""
select * from treadle.assistant a
 where treadle.tool_name(name) = $1 and right(assistant_id::text, 8) = $2 and {readable(3)}
 order by created_at, assistant_id limit 1
"""  # noqa: S608 - put together from constants
POSSIBLE = re.compile(r"[a-zA-Z0-9_-]{1,128}", re.ASCII)
SUFFIXED = re.compile(r"(.+)-([0-9a-f]{8})", re.ASCII)


class NamedTool(NamedTuple):
    name: str
    assistant: Assistant


class ToolNames:
    """The names by which assistants are called as tools."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list(self, scope: Scope, limit: int, offset: int) -> list[NamedTool]:
        """Tools, newest assistant first."""
        rows = await self._pool.fetch(LIST, limit, offset, *scope)
        return [NamedTool(row["tool"], read(Assistant, row)) for row in rows]

    async def find(self, scope: Scope, name: str) -> Assistant | None:
        """The assistant behind a tool's name. A name with an id in it goes on to be valid when others go."""
        if POSSIBLE.fullmatch(name) is None:
            return None
        row = await self._pool.fetchrow(OLDEST_NAMED, name, *scope)
        if row is None and (suffixed := SUFFIXED.fullmatch(name)) is not None:
            row = await self._pool.fetchrow(WITH_SUFFIX, *suffixed.groups(), *scope)
        return None if row is None else read(Assistant, row)
