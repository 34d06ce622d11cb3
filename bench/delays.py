#!/usr/bin/env python3
"""How late delayed runs begin: `python -m bench.delays [--runs 100] [--secs 20] [--at-once 200]`.

Starts real servers, and an API, a worker and, if asked for, a scheduler process on them. Creates runs whose
`after_seconds` are spread at random, and then some that are all due at about the same moment. The figures are differences
of the database's own times, `started_at - not_before`, with and without schedules of NATS, with and without a scheduler.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from bench.load import positive
from bench.services import serving
from treadle.dev.servers import Servers, temporary_servers
from treadle.migrate import migrate

GRAPH = "echo"
GIVEN: dict[str, Any] = {"items": []}
# A batch is one transaction; those of this size are accepted well within the shortest delay.
BATCH = 100
SHORTEST_SECS = 2.0
# By whom runs are woken: TREADLE_NATS_SCHEDULES, and the services.
WAYS = {
    "NATS and scheduler": ("auto", ["api", "worker", "scheduler"]),
    "scheduler alone": ("off", ["api", "worker", "scheduler"]),
    "NATS alone": ("auto", ["api", "worker"]),
}
LATE = """
select extract(epoch from started_at - not_before)::float8 * 1000 as late
  from treadle.run where run_id = any($1::uuid[]) order by 1
"""


@asynccontextmanager
async def warm(
    servers: Servers, schedules: str, services: Sequence[str], logs: Path
) -> AsyncGenerator[LangGraphClient]:
    """The services on servers that have the schema, after a first run."""
    settings = {"TREADLE_NATS_SCHEDULES": schedules, "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0"}
    async with serving(servers, services, logs, **settings) as url:
        client = get_client(url=url)
        await client.runs.wait(None, GRAPH, input=GIVEN)
        yield client


async def late(client: LangGraphClient, dsn: str, delays: Sequence[float]) -> list[float]:
    """Milliseconds from the moment when each run was due, lowest first."""
    runs: list[Any] = []
    for begin in range(0, len(delays), BATCH):
        batch: list[Any] = [
            {"assistant_id": GRAPH, "input": GIVEN, "after_seconds": after, "on_completion": "keep"}
            for after in delays[begin : begin + BATCH]
        ]
        runs += await client.runs.create_batch(batch)
    for run in runs:
        await client.runs.join(run["thread_id"], run["run_id"])
    connection = await asyncpg.connect(dsn)
    try:
        return [row["late"] for row in await connection.fetch(LATE, [run["run_id"] for run in runs])]
    finally:
        await connection.close()


def say(way: str, what: str, found: Sequence[float]) -> None:
    p50, p99 = (found[min(int(len(found) * part), len(found) - 1)] for part in (0.5, 0.99))
    print(
        f"{way:18}  {what:12}  {len(found):5,} runs  earliest {found[0]:6.1f} ms  p50 {p50:6.1f} ms  "
        f"p99 {p99:6.1f} ms  latest {found[-1]:6.1f} ms",
        flush=True,
    )


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=positive, default=100)
    parser.add_argument("--secs", type=positive, default=20, help="over which their moments are spread [20]")
    parser.add_argument(
        "--at-once", type=positive, default=200, help="runs that are due at about one moment [200]"
    )
    options = parser.parse_args()
    spread = [SHORTEST_SECS + random.uniform(0, options.secs) for _ in range(options.runs)]
    burst = [SHORTEST_SECS] * options.at_once
    with tempfile.TemporaryDirectory(prefix="treadle-bench-") as logs:
        async with temporary_servers() as servers:
            await migrate(servers.postgres.url)
            for way, (schedules, services) in WAYS.items():
                async with warm(servers, schedules, services, Path(logs)) as client:
                    say(way, "spread", await late(client, servers.postgres.url, spread))
                    say(way, "at one time", await late(client, servers.postgres.url, burst))


if __name__ == "__main__":
    asyncio.run(main())
