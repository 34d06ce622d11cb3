"""What tests do with the public client again and again, with exact types (the client's own are looser)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar, cast

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Run, StreamPart

Values = dict[str, Any]
T = TypeVar("T")


async def eventually(ask: Callable[[], Awaitable[T]], secs: float = 15.0) -> T:
    """Ask until the answer is not empty: where a client can do no more than ask again."""
    async with asyncio.timeout(secs):
        while not (answer := await ask()):  # noqa: ASYNC110 - a client is told of nothing
            await asyncio.sleep(0.05)
    return answer


async def new_thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


async def wait(client: LangGraphClient, thread: str | None, graph: str, **body: Any) -> Values:
    """Create a run and wait for its result."""
    return cast(Values, await cast(Any, client.runs).wait(thread, graph, **body))


async def join(client: LangGraphClient, thread: str, run: Run) -> Values:
    """Wait for a run's result."""
    return cast(Values, await cast(Any, client.runs).join(thread, run["run_id"]))


async def values(client: LangGraphClient, thread: str) -> Values:
    """The values of a thread's newest state."""
    return cast(Values, (await client.threads.get_state(thread))["values"])


async def events(stream: AsyncIterator[StreamPart]) -> list[tuple[str, Any]]:
    """All events of a stream, without their ids."""
    return [(part.event, cast(Any, part.data)) async for part in stream]


async def numbers(stream: AsyncIterator[StreamPart], most: int | None = None) -> list[tuple[int, str]]:
    """What the graph `emitting` counts, up to `most` of it: (number, event id)."""
    counted: list[tuple[int, str]] = []
    async for part in stream:
        if part.event == "custom":
            counted.append((cast(int, part.data["n"]), part.id or ""))
        if len(counted) == most:
            break
    return counted


async def begun(stream: AsyncIterator[StreamPart], event: str = "custom") -> None:
    """Read a stream until an event of a kind has come."""
    async for part in stream:
        if part.event == event:
            return
    raise AssertionError(f"the stream ended without {event}")


async def leave(stream: AsyncIterator[StreamPart]) -> None:
    """Hang up in the middle of a stream."""
    await cast(Any, stream).aclose()
