#!/usr/bin/env python3
"""Whether one tenant's many runs keep another's waiting: `python -m bench.fair [--many 10000] [--lone 20]`.

Starts real servers, an API with API keys, a worker and a scheduler. One tenant asks for many runs at once; while they wait, another
asks for one now and then, and it is measured how long each waits from its acceptance to its start, by the clock of Postgres. Three
times: with the runs of graph `echo`, which are over at once; with runs of a second each, where every slot is taken when the lone run
comes; and `echo` with `TREADLE_FAIR_SHARE=off`, for what turns cost and what they are good for. Fails when a lone run has waited for longer than
the goal where shares are fair.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import asyncpg
import httpx

from bench.auth import api_key
from bench.load import INPUT, positive
from bench.progress import Progress
from bench.services import serving
from treadle.dev.servers import temporary_servers
from treadle.migrate import migrate

GOAL_SECS = 2.0
BATCH = 250
ASKING_AT_ONCE = 8
SECOND = {"delay": 1.0}
STARTED = """
select extract(epoch from r.started_at - r.created_at)::float8 from treadle.run r join treadle.thread t using (thread_id)
 where t.tenant = 'lone' and r.started_at is not null
"""
ENDED = "select count(*) from treadle.run r join treadle.thread t using (thread_id) where t.tenant = 'many' and r.ended_at is not null"


class Case(NamedTuple):
    """What the many are, and whether shares are fair."""

    name: str
    graph: str
    input: dict[str, Any]
    lone: int
    pause_secs: float
    fair: str


class Found(NamedTuple):
    """Waits of the lone runs, runs of the many that were accepted and that ended, each per second."""

    waits: list[float]
    accepted: float
    executed: float


async def ask_for_many(http: httpx.AsyncClient, case: Case, many: int) -> None:
    left = many

    async def one_after_another() -> None:
        nonlocal left
        while left > 0:
            count = min(BATCH, left)
            left -= count
            run = {"assistant_id": case.graph, "input": case.input, "on_completion": "keep"}
            (await http.post("/runs/batch", json=[run] * count)).raise_for_status()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(ASKING_AT_ONCE):
            tasks.create_task(one_after_another())


async def ask_now_and_then(http: httpx.AsyncClient, case: Case) -> None:
    for _ in range(case.lone):
        run = {"assistant_id": "echo", "input": INPUT, "on_completion": "keep"}
        (await http.post("/runs/wait", json=run)).raise_for_status()
        await asyncio.sleep(case.pause_secs)


async def measured(case: Case, many: int) -> Found:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="treadle-bench-")))
        servers = await stack.enter_async_context(temporary_servers())
        await migrate(servers.postgres.url)
        services = ["api", "worker", "scheduler"]
        settings = {"TREADLE_API_KEYS": "on", "TREADLE_FAIR_SHARE": case.fair}
        url = await stack.enter_async_context(serving(servers, services, folder, **settings))
        clients: list[httpx.AsyncClient] = []
        for tenant in ("many", "lone"):
            headers = {"x-api-key": await api_key(servers, "--tenant", tenant)}
            client = httpx.AsyncClient(base_url=url, headers=headers, timeout=600)
            clients.append(await stack.enter_async_context(client))
        postgres = await asyncpg.connect(servers.postgres.url)
        stack.push_async_callback(postgres.close)
        began = time.perf_counter()
        await ask_for_many(clients[0], case, many)
        accepted = many / (time.perf_counter() - began)
        before, began = await postgres.fetchval(ENDED), time.perf_counter()
        await ask_now_and_then(clients[1], case)
        executed = (await postgres.fetchval(ENDED) - before) / (time.perf_counter() - began)
        waits = [row[0] for row in await postgres.fetch(STARTED)]
        if await postgres.fetchval(ENDED) >= many and case.fair == "on":
            raise SystemExit(
                f"{case.name}: the many were over before the lone runs were: ask for more of them (--many)."
            )
        return Found(waits, accepted, executed)


async def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--many", type=positive, default=10_000, help="runs of the one tenant [10000]")
    parser.add_argument("--lone", type=positive, default=20, help="runs of the other [20]")
    options = parser.parse_args()
    cases = [
        Case("short runs", "echo", INPUT, options.lone, 0.3, "on"),
        Case("runs of a second", "sleep", SECOND, options.lone, 0.3, "on"),
        Case("short runs, first come first served", "echo", INPUT, 1, 0, "off"),
    ]
    missed = False
    with Progress(len(cases)) as progress:
        for case in cases:
            progress.step(f"{options.many:,} {case.name}")
            found = await measured(case, options.many)
            worst = max(found.waits)
            missed |= case.fair == "on" and worst > GOAL_SECS
            progress.say(
                f"    lone runs wait p50 {median(found.waits):.3f} s, at most {worst:.3f} s; the many: {found.accepted:,.0f} accepted/s, "
                f"then {found.executed:,.0f} runs/s"
            )
    print(
        f"Goal: a lone run waits {GOAL_SECS:g} s at the most where shares are fair: {'missed' if missed else 'holds'}."
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
