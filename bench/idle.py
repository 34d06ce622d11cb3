"""What streams cost on which nothing happens: memory of the API, and the time of those on which something does."""

from __future__ import annotations

import asyncio
import resource
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import uuid4

import psutil

from bench.load import Client, Figures, one_stream, together
from bench.memory import KIB, resident

STREAMS = 2000
# Opened at the same time, so that the API's memory grows by what an open stream holds, not by a crowd at the door.
AT_ONCE = 16
FIRST_EVENTS = 30
EVENTS = 5
# After the last stream was opened, and before the memory is looked at.
SETTLE_SECS = 2.0
# The run of an idle stream is not due before the benchmark is over.
DELAY_SECS = 3600
OPEN_FILES = 16_384


def allow_open_files() -> None:
    """Raise the soft limit of open files for this process and those that it starts: each stream needs one in both."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))


async def idle_streams(client: Client, api: Sequence[psutil.Process]) -> Figures:
    """Open streams of runs that wait for their time, each on a thread of its own; with them open, stream other runs.

    Args:
        api: the processes of the API, warmed up; only in ones that are new says their growth what a stream takes.

    Raises:
        ScenarioFailed: the server refused a stream.
    """
    await first_events(client)
    before = resident(*api)
    async with AsyncExitStack() as stack:

        async def open_one() -> None:
            body = {
                "assistant_id": "stream",
                "input": {"n": 1},
                "stream_mode": ["custom"],
                "if_not_exists": "create",
                "after_seconds": DELAY_SECS,
                "on_disconnect": "continue",
            }
            await stack.enter_async_context(client.stream(f"/threads/{uuid4()}/runs/stream", body))

        await together([open_one] * STREAMS, AT_ONCE)
        await asyncio.sleep(SETTLE_SECS)
        grown = resident(*api) - before
        return {"each_kib": grown / KIB / STREAMS, "first_event_p50_ms": await first_events(client)}


async def first_events(client: Client) -> float:
    """Milliseconds to the first event of one streamed run after another, the median."""
    return 1e3 * statistics.median([(await one_stream(client, EVENTS))[0] for _ in range(FIRST_EVENTS)])
