"""Whether a long queue makes the two steps slower that every run needs: its creation and its claim."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg

from bench.load import INPUT, Client, Figures, ScenarioFailed, open_clients, percentile
from bench.services import serving
from treadle.db.pool import close_pool, connect_pool
from treadle.db.runs import Lease, Runs
from treadle.dev.servers import Servers, temporary_servers
from treadle.migrate import migrate

SHALLOW, DEEP = 100, 100_000
# Of each step in each queue, in one round.
STEPS = 150
WARM_UP_STEPS = 30
FILL_SECS = 120
LEASE = Lease("bench", secs=3600, max_crashes=3)
# More than wait, so that none is refused, but bounded, so that the API counts them as it does anywhere.
SETTINGS = {"TREADLE_MAX_PENDING_RUNS": str(2 * DEEP)}

# Copies of a run that is as the API makes them, each on a thread of its own, accepted a millisecond apart. No events: they were
# told when the runs were accepted.
FILL = """
set local session_replication_role = replica;
create temporary table copied on commit drop as
    select gen_random_uuid() as thread_id, clock_timestamp() - make_interval(secs => n / 1000.0) as at
      from generate_series(1, {count}) n;
insert into treadle.thread (thread_id, status, metadata, config, created_at, updated_at, state_updated_at)
select c.thread_id, t.status, t.metadata, t.config, c.at, c.at, c.at from copied c, treadle.thread t
 where t.thread_id = '{thread}';
insert into treadle.run (run_id, thread_id, assistant_id, graph_id, multitask_strategy, metadata, kwargs, route,
                         created_at, updated_at)
select gen_random_uuid(), c.thread_id, r.assistant_id, r.graph_id, r.multitask_strategy, r.metadata, r.kwargs, r.route, c.at, c.at
  from copied c, treadle.run r where r.thread_id = '{thread}';
"""


class WaitingQueue:
    """A database with runs that no worker takes, an API that takes more, and a hand that claims as a worker does."""

    def __init__(self, client: Client, runs: Runs) -> None:
        self._client = client
        self._runs = runs
        self._threads: list[UUID] = []

    async def create(self) -> float:
        """Accept a run on a new thread, over HTTP; returns the seconds."""
        thread = await self._client.new_thread()
        self._threads.append(UUID(thread))
        start = time.perf_counter()
        await self._client.call("POST", f"/threads/{thread}/runs", {"assistant_id": "echo", "input": INPUT})
        return time.perf_counter() - start

    async def claim(self) -> float:
        """Claim a run that was created here; returns the seconds."""
        thread = self._threads.pop()
        start = time.perf_counter()
        claim = await self._runs.claim(thread, LEASE)
        took = time.perf_counter() - start
        if claim.outcome != "claimed":
            raise ScenarioFailed(f"queue_depth: a run was not to be claimed, but {claim.outcome}")
        return took


@asynccontextmanager
async def open_queues() -> AsyncGenerator[tuple[WaitingQueue, WaitingQueue]]:
    """A shallow queue and a deep one: two databases of one server, each with an API and a scheduler of its own."""
    async with temporary_servers() as servers, AsyncExitStack() as stack:
        shallow, deep = [
            await stack.enter_async_context(_queue(servers, f"queue_{runs}", runs))
            for runs in (SHALLOW, DEEP)
        ]
        await _steps(shallow, deep, WARM_UP_STEPS)
        yield shallow, deep


async def compare(shallow: WaitingQueue, deep: WaitingQueue) -> Figures:
    """One round; the queues take turns at each step, so that both find the machine as fast.

    Raises:
        ScenarioFailed: the API refused a run, or it could not be claimed.
    """
    figures: Figures = {}
    for step, laps in (await _steps(shallow, deep, STEPS)).items():
        p50 = {depth: 1e3 * percentile(of_depth, 0.5) for depth, of_depth in laps.items()}
        figures |= {f"{step}_{depth}_p50_ms": value for depth, value in p50.items()}
        figures[f"{step}_deep_to_shallow_times"] = p50["deep"] / p50["shallow"]
    return figures


async def _steps(shallow: WaitingQueue, deep: WaitingQueue, count: int) -> dict[str, dict[str, list[float]]]:
    """The seconds of each step in each queue: all are created, and then all are claimed."""
    laps: dict[str, dict[str, list[float]]] = {}
    for step, take in (("create", WaitingQueue.create), ("claim", WaitingQueue.claim)):
        laps[step] = {"shallow": [], "deep": []}
        queues = [("shallow", shallow), ("deep", deep)]
        for _ in range(count):
            for depth, queue in queues:
                laps[step][depth].append(await take(queue))
            queues.reverse()
    return laps


@asynccontextmanager
async def _queue(servers: Servers, name: str, runs: int) -> AsyncGenerator[WaitingQueue]:
    dsn = await _new_database(servers, name)
    async with AsyncExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="treadle-bench-")))
        services = serving(servers, ["api", "scheduler"], logs, DATABASE_URI=dsn, **SETTINGS)
        url = await stack.enter_async_context(services)
        [client] = await stack.enter_async_context(open_clients([url], headers={}))
        pool = await connect_pool(dsn, size=1, service="bench")
        stack.push_async_callback(close_pool, pool)
        await _fill(client, dsn, runs)
        yield WaitingQueue(client, Runs(pool))


async def _new_database(servers: Servers, name: str) -> str:
    """Its DSN; it has the schema."""
    connection = await asyncpg.connect(servers.postgres.url)
    try:
        await connection.execute(f"create database {name}")
    finally:
        await connection.close()
    address = urlsplit(servers.postgres.url)
    dsn = urlunsplit(address._replace(path=f"/{name}"))
    await migrate(dsn)
    return dsn


async def _fill(client: Client, dsn: str, runs: int) -> None:
    thread = await client.new_thread()
    await client.call("POST", f"/threads/{thread}/runs", {"assistant_id": "echo", "input": INPUT})
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(FILL.format(count=runs - 1, thread=UUID(thread)), timeout=FILL_SECS)
        await connection.execute("vacuum analyze treadle.run")
        await connection.execute("vacuum analyze treadle.thread")
    finally:
        await connection.close()
