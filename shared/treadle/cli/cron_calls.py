"""What `treadle cron` asks of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

from treadle.cli.server_errors import server_errors
from treadle.errors import Conflict, InvalidRequest, NotFound, TreadleError
from treadle.model import default_assistant_id

PAGE = 1000
AT_ONCE = 16

# As the server sends it; servers other than Treadle leave some members out.
Cron = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """Which crons; what is None does not matter. The assistant is an id, or the name of a graph."""

    assistant: str | None = None
    thread: str | None = None
    metadata: dict[str, Any] | None = None
    enabled: bool | None = None

    @property
    def assistant_id(self) -> str | None:
        if self.assistant is None:
            return None
        try:
            return str(UUID(self.assistant))
        except ValueError:
            return str(default_assistant_id(self.assistant))


async def found(client: LangGraphClient, wanted: Wanted, limit: int | None = None) -> list[Cron]:
    """The crons that are wanted, the one that is due next first.

    Without a limit all of them, in an order that no tick changes: what goes to another page meanwhile is overlooked.
    """
    crons: list[Cron] = []
    while limit is None or len(crons) < limit:
        size = PAGE if limit is None else min(PAGE, limit - len(crons))
        page = await client.crons.search(
            assistant_id=wanted.assistant_id,
            thread_id=wanted.thread,
            metadata=wanted.metadata,
            enabled=wanted.enabled,
            sort_by="cron_id" if limit is None else "next_run_date",
            sort_order="asc",
            limit=size,
            offset=len(crons),
        )
        crons += cast("list[Cron]", page)
        if len(page) < size:
            break
    return crons


async def names(client: LangGraphClient, crons: Iterable[Cron]) -> dict[str, str]:
    """The names of the crons' assistants, by their ids; one that is removed meanwhile has none."""

    async def name(assistant: str) -> str:
        try:
            return (await client.assistants.get(assistant))["name"]
        except NotFoundError:
            return assistant

    ids = list(dict.fromkeys(cron["assistant_id"] for cron in crons))
    return {
        assistant: named
        for several in _several(ids)
        for assistant, named in zip(several, await asyncio.gather(*map(name, several)), strict=True)
    }


async def switched(
    client: LangGraphClient, url: str, cron_ids: Sequence[str], *, enabled: bool
) -> AsyncIterator[Cron | TreadleError]:
    """Each cron after it was switched on or off, in their order, or why the server did not: it may be gone."""

    async def switch(cron_id: str) -> Cron | TreadleError:
        try:
            with server_errors(url):
                return cast(Cron, await client.crons.update(cron_id, enabled=enabled))
        except (NotFound, Conflict, InvalidRequest) as error:
            return error

    for several in _several(cron_ids):
        for outcome in await asyncio.gather(*map(switch, several)):
            yield outcome


async def triggered(client: LangGraphClient, cron_id: str) -> dict[str, Any]:
    """The run that was made of a cron."""
    return cast("dict[str, Any]", await client.http.post(f"/runs/crons/{cron_id}/trigger", json=None))


def _several(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE)]
