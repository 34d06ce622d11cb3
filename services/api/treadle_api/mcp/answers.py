"""What the protocol's methods answer, in the protocol's own words and whichever library speaks it."""

from __future__ import annotations

from typing import Any

from treadle.errors import TreadleError
from treadle_api.access.access import Access
from treadle_api.mcp.calls import Calls, Progress
from treadle_api.mcp.tools import Tools


class Refused(TreadleError):
    """The parameters of a method cannot be used; the client gets the protocol's own error for that."""


class Answers:
    """The answers to tools/list and tools/call."""

    def __init__(self, tools: Tools, calls: Calls) -> None:
        self._tools = tools
        self._calls = calls

    async def list_tools(self, access: Access, cursor: str | None) -> dict[str, Any]:
        """Raises Refused when the cursor is none that this server gave."""
        page = await self._tools.page(access, cursor)
        if page is None:
            raise Refused("cursor: not one that this server gave. Leave it out to begin with the first tool.")
        return (
            {"tools": page.tools} if page.cursor is None else {"tools": page.tools, "nextCursor": page.cursor}
        )

    async def call_tool(
        self, access: Access, name: str, arguments: dict[str, Any] | None, progress: Progress | None
    ) -> dict[str, Any]:
        """Raises Refused when there is no such tool."""
        assistant = await self._tools.find(access, name)
        if assistant is None:
            raise Refused(f"Unknown tool: {name[:128]}")
        return await self._calls.call(access, assistant, arguments or {}, progress)
