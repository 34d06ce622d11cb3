"""Connections that Postgres ends, at whatever moment, and those that this process has no memory to use."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from uuid import uuid4

import psutil
import pytest
from psycopg import OperationalError

from tests.chaos.proxy import Plain, Proxy
from tests.integration.accepting import accepted
from treadle.checkpoint.pool import ConnectionPool, checkpoint_pool
from treadle.db.pool import Pool, PoolWait, connect_pool, postgres_errors
from treadle.db.runs import Lease, Runs
from treadle.errors import Overloaded, Unavailable
from treadle.telemetry.metrics import Metrics
from treadle_worker.active import ActiveRun
from treadle_worker.leases import LeaseKeeper

OFTEN = 60
# More than the allocator has left over, so that it is asked of the system.
LARGE_BYTES = 64 * 1024 * 1024
LENGTH = "select length($1::text)"
READERS = 4
END = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'treadle-ended'"

# Waits until they are gone: a connection that ends in the moment it is taken is another matter.
END_RESTED = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'treadle-rested-checkpoints'"


async def test_a_connection_that_ends_while_it_rests_is_postgres_being_away(dsn: str, pool: Pool) -> None:
    """The driver hands it out for as long as it has read the farewell and not yet the end of the connection."""
    ended = await connect_pool(dsn, size=1, service="ended")
    outcomes: list[bool] = []
    for _ in range(OFTEN):
        await pool.execute(END)
        for _ in range(3):
            outcomes.append(await answers(ended))
            # One turn of the loop, in which it may read the farewell, or the end.
            await asyncio.sleep(0)
    await ended.close()
    assert True in outcomes


async def test_nobody_is_given_a_checkpoint_connection_that_ended_while_it_rested(
    dsn: str, pool: Pool
) -> None:
    """After a restart of Postgres the first readers of every process would fail, as many as it had connections."""
    async with checkpoint_pool(dsn, size=READERS, service="rested") as rested:
        for _ in range(3):
            assert await asyncio.gather(*(reads(rested) for _ in range(READERS))) == [1] * READERS
            await pool.execute(END_RESTED)


async def test_postgres_that_is_away_is_not_taken_for_too_many_who_use_it(dsn: str) -> None:
    """The log says the one and not the other, and asking again in a moment helps only with the other."""
    refused: list[None] = []
    wait = PoolWait(0.5, lambda: refused.append(None))
    async with (
        Proxy(lambda: dsn).listening() as proxy,
        checkpoint_pool(proxy.url, size=1, service="far", wait=wait) as far,
    ):
        async with far.connection():
            with pytest.raises(Overloaded, match="are in use"):
                await reads(far)
        async with proxy.turned(Plain.CUT):
            with pytest.raises(Unavailable, match="could not be reached") as away:
                await reads_until_it_is_told(far)
        assert not isinstance(away.value, Overloaded)
    assert len(refused) == 1


async def reads(pool: ConnectionPool) -> int:
    async with pool.connection() as connection:
        found = await (await connection.execute("select 1 as one from pg_sleep(0.05)")).fetchone()
    return found["one"]


async def reads_until_it_is_told(pool: ConnectionPool) -> None:
    """Whoever has a connection when it breaks hears of that by the driver."""
    while True:
        with suppress(OperationalError):
            await reads(pool)


async def answers(pool: Pool) -> bool:
    try:
        with postgres_errors("asking"):
            return await pool.fetchval("select true")
    except Unavailable:
        return False


async def test_leases_are_kept_whenever_their_connection_ends(dsn: str, pool: Pool) -> None:
    """The worker stops when its lease keeper does: it asks itself to with SIGTERM."""
    failed = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, failed.set)
    thread, runs, metrics = uuid4(), Runs(pool), Metrics()
    await accepted(pool, thread)
    claim = await runs.claim(thread, Lease("w", 60, 3))
    assert claim.run is not None
    keeper = LeaseKeeper(f"{dsn}&application_name=treadle-ended", "nats://127.0.0.1:1", "w", 0.06, metrics)
    await keeper.start()
    keeper.hold(ActiveRun(claim.run), "ack", time.monotonic())
    for _ in range(OFTEN * 2):
        await pool.execute(END)
        # Not for anything to happen: the next connection ends at another moment between two beats.
        await asyncio.sleep(0.023)
    await keeper.close()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert not failed.is_set()
    assert b"treadle_heartbeat_failures_total 0.0" not in metrics.render()


async def test_a_statement_that_this_process_has_no_memory_for_may_be_tried_again(pool: Pool) -> None:
    large = "x" * LARGE_BYTES
    with (
        memory(LARGE_BYTES // 2),
        pytest.raises(Unavailable, match="no memory left"),
        postgres_errors("counting"),
    ):
        await pool.fetchval(LENGTH, large)
    assert await pool.fetchval(LENGTH, large) == LARGE_BYTES


@contextmanager
def memory(more: int) -> Generator[None]:
    """This process has no more than so many bytes besides what it has."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + more, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
