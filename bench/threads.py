#!/usr/bin/env python3
"""What a page of a thread search takes among many threads: `python -m bench.threads [--threads 100000]`.

Starts real servers and an API process, fills the table by SQL, and asks for pages over HTTP with the public client:
the first and deep ones, for a filter that every thread matches and for one that few do.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bench.load import positive
from bench.services import serving
from treadle.dev.servers import temporary_servers
from treadle.migrate import migrate

LIMIT = 10
REPEATS = 15

# Threads as a team has them: one graph, 5,000 users, changed in another order than made.
FILL = """
insert into treadle.thread (thread_id, metadata, "values", created_at, updated_at, state_updated_at)
select gen_random_uuid(),
       jsonb_build_object('graph_id', 'agent', 'assistant_id', 'fe096781-5601-53d2-b2f6-0d3403f7e9ca',
                          'user', 'user-' || n % 5000),
       jsonb_build_object('messages', jsonb_build_array(jsonb_build_object('content', repeat('word ', $2)))),
       now() - make_interval(secs => $1 - n), now() - make_interval(secs => $1 - n + 3600 * random()),
       now() - make_interval(secs => $1 - n)
  from generate_series(1, $1) n
"""
EVERY = {"graph_id": "agent"}
SOME = {"user": "user-77"}


async def fill(dsn: str, threads: int, words: int) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(FILL, threads, words, timeout=300)
        await connection.execute("vacuum analyze treadle.thread")
    finally:
        await connection.close()


async def measured(ask: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Milliseconds of a request: the median, and the slowest."""
    await ask()
    took: list[float] = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took), max(took)


async def measure(client: LangGraphClient, threads: int) -> None:
    deep = [0, threads // 10, threads // 2, threads - LIMIT]
    for name, metadata, offsets in (("every", EVERY, deep), ("few", SOME, [0, LIMIT])):
        for offset in offsets:

            async def page(metadata: dict[str, str] = metadata, offset: int = offset) -> None:
                found = await client.threads.search(metadata=metadata, limit=LIMIT, offset=offset)
                assert len(found) == LIMIT, found

            median, slowest = await measured(page)
            print(
                f"matching {name:5} offset {offset:7,}  median {median:6.1f} ms  slowest {slowest:6.1f} ms",
                flush=True,
            )
    median, slowest = await measured(lambda: client.threads.count(metadata=EVERY))
    print(f"count of every thread        median {median:6.1f} ms  slowest {slowest:6.1f} ms")


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=positive, default=100_000)
    parser.add_argument("--words", type=positive, default=40, help="length of each thread's values [40]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="treadle-bench-") as logs:
        async with temporary_servers() as servers:
            await migrate(servers.postgres.url)
            await fill(servers.postgres.url, options.threads, options.words)
            async with serving(servers, ["api"], Path(logs)) as url:
                await measure(get_client(url=url), options.threads)


if __name__ == "__main__":
    asyncio.run(main())
