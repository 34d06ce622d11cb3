"""The steps of the run protocol as a worker takes them while Postgres is away."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID, uuid4

from tests.chaos.proxy import Plain, Proxy
from treadle.db.new_run import NewRun
from treadle.db.pool import Pool, connect_pool
from treadle.db.runs import Lease, Outcome, Runs
from treadle.db.threads import Threads
from treadle.telemetry.metrics import Metrics
from treadle.telemetry.tracing import Tracing
from treadle_worker.active import ActiveRun
from treadle_worker.leases import LeaseKeeper
from treadle_worker.settling import Settling
from treadle_worker.spans import Spans

LEASE = Lease("w", 0.6, 3)
SUCCESS = Outcome(status="success", resting="idle", output=b"{}", values=b"{}")


async def queued(pool: Pool, count: int) -> UUID:
    """A thread with so many runs."""
    thread_id, runs = uuid4(), Runs(pool)
    await Threads(pool).create(thread_id, {}, None)
    for _ in range(count):
        new = NewRun(run_id=uuid4(), thread_id=thread_id, assistant_id=uuid4(), graph_id="g", kwargs={})
        await runs.create(new)
    return thread_id


async def test_a_run_that_follows_after_an_outage_has_its_whole_lease(dsn: str, pool: Pool) -> None:
    """The lease counts from the claim that was answered: else its first node would run in vain, and once more."""
    thread_id, metrics = await queued(pool, 2), Metrics()
    async with Proxy(lambda: dsn).listening() as proxy:
        through = await connect_pool(proxy.url, size=1, service="cut")
        keeper = LeaseKeeper(dsn, "nats://127.0.0.1:1", "w", LEASE.secs, metrics)
        spans = Spans(Tracing(), "default")
        settling = Settling(Runs(through), keeper, LEASE, metrics, spans, asyncio.Event())
        first, _ = await settling.claim(thread_id)
        assert first.run is not None
        async with proxy.turned(Plain.CUT):
            finishing = asyncio.create_task(settling.finish(ActiveRun(first.run), SUCCESS))
            # Not for anything to happen: for longer than a lease lasts.
            await asyncio.sleep(LEASE.secs * 1.5)
            back_at = time.monotonic()
        taken = await finishing
        await through.close()
    assert taken is not None
    assert taken.claim.run is not None
    assert taken.since >= back_at
