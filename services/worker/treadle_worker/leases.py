"""Keeps the leases of this worker's runs, on a thread of its own.

A user's node may block the worker's event loop (a synchronous sleep or a long computation in an async node). The
leases must not notice, so heartbeats have their own thread, loop, and connections to Postgres and NATS.
Code that holds the GIL without a break for longer than a lease does lose its runs; fencing keeps that harmless.

The thread only reports: a lost lease or a cancel seen in the database is handed to the worker's loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from nats.aio.client import Client

from treadle.db.pool import CONNECT_TIMEOUT_SECS, POSTGRES_ERRORS, connect
from treadle.db.runs import HEARTBEAT
from treadle.messaging.access import NatsAccess
from treadle.messaging.connection import NATS_ERRORS, Nats
from treadle.patience import OK, Tell, nobody
from treadle.telemetry.metrics import Metrics
from treadle_worker.active import ActiveRun, Stop
from treadle_worker.held import Held

log = logging.getLogger(__name__)

# Beats in the length of a lease: two may fail before the third is too late.
BEATS_PER_LEASE = 3
# A lease that cannot be extended is given up this share of its length before its end.
MARGIN = 0.1
IN_PROGRESS = b"+WPI"


# Is beside the beats for as long as leases are kept: is given the worker's loop, the runs in hand, and a connection to NATS.
Beside = Callable[
    [asyncio.AbstractEventLoop, Callable[[], Sequence[Held]], Client], Coroutine[Any, Any, None]
]


class LeaseKeeper:
    """Extends all leases with one UPDATE per beat, and tells JetStream that their messages are in progress.

    Args:
        tell: is told at each beat how Postgres is.
        beside: runs on the same thread; when it fails, the keeper has failed.
    """

    def __init__(
        self,
        dsn: str,
        nats: NatsAccess | str,
        worker: str,
        lease_secs: float,
        metrics: Metrics,
        tell: Tell = nobody,
        beside: Beside | None = None,
    ) -> None:
        self._beside = beside
        self._tell_postgres = tell
        self._dsn = dsn
        self._nats = Nats(nats, name=f"{worker}-leases")
        self._lease_secs = lease_secs
        self._metrics = metrics
        self._held: dict[UUID, Held] = {}
        self._elsewhere: set[str] = set()
        self._failed_at = float("-inf")
        self._lock = threading.Lock()
        self._worker_loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    async def start(self) -> None:
        self._thread.start()
        await self._ready.wait()

    async def close(self) -> None:
        if self._loop is not None and self._closing is not None:
            self._loop.call_soon_threadsafe(self._closing.set)
        await asyncio.to_thread(self._thread.join)

    def hold(self, active: ActiveRun, ack_subject: str | None, claimed_at: float) -> None:
        """Keep the lease of a run from now on. An older attempt of it that is still on here has lost it, and is stopped.

        Args:
            ack_subject: of the message that is in progress with it; None: that is somebody else's.
            claimed_at: time.monotonic() before the claim was sent; the lease counts from there.
        """
        older = self._held.get(active.run.run_id)
        if older is not None and older.active is not active:
            self._on_stop(older.active, Stop.LOST)
        with self._lock:
            self._held[active.run.run_id] = Held(
                active, ack_subject, claimed_at + self._lease_secs, claimed_at
            )
        self._metrics.leases_held.set(len(self._held))

    def release(self, active: ActiveRun) -> None:
        """The run has ended, or is no longer ours."""
        with self._lock:
            held = self._held.get(active.run.run_id)
            if held is not None and held.active is active:
                del self._held[active.run.run_id]
        self._metrics.leases_held.set(len(self._held))

    @contextmanager
    def in_progress(self, ack_subject: str) -> Generator[None]:
        """A message whose run another process executes, under a lease of its own."""
        with self._lock:
            self._elsewhere.add(ack_subject)
        try:
            yield
        finally:
            with self._lock:
                self._elsewhere.discard(ack_subject)

    def valid(self, active: ActiveRun) -> bool:
        """Whether the lease still holds by this process's clock: nothing may be published once it does not."""
        held = self._held.get(active.run.run_id)
        return held is not None and held.active is active and time.monotonic() < held.until

    def reached_since(self, moment: float) -> bool:
        """Whether Postgres has answered all heartbeats since then, by `time.monotonic()`."""
        return self._failed_at < moment

    def _run(self) -> None:
        try:
            asyncio.run(self._keep())
        except Exception:
            # A worker that nobody keeps leases for must not go on claiming runs: it drains, and is started anew.
            log.critical("the lease keeper has failed; the worker stops", exc_info=True)
            os.kill(os.getpid(), signal.SIGTERM)

    async def _keep(self) -> None:
        closing = asyncio.Event()
        self._loop, self._closing = asyncio.get_running_loop(), closing
        self._worker_loop.call_soon_threadsafe(self._ready.set)
        connection: asyncpg.Connection | None = None
        async with self._nats.kept_up():
            try:
                async with asyncio.TaskGroup() as tasks:
                    beside = self._stand_beside(tasks)
                    while not await _set_within(closing, self._beat_secs):
                        connection = await self._beat(connection)
                        await self._say_in_progress()
                    if beside is not None:
                        beside.cancel()
            finally:
                if connection is not None:
                    connection.terminate()

    def _stand_beside(self, tasks: asyncio.TaskGroup) -> asyncio.Task[None] | None:
        if self._beside is None:
            return None
        return tasks.create_task(
            self._beside(self._worker_loop, self._in_hand, self._nats.client), name="beside"
        )

    def _in_hand(self) -> list[Held]:
        with self._lock:
            return list(self._held.values())

    async def _beat(self, connection: asyncpg.Connection | None) -> asyncpg.Connection | None:
        """Extend every lease in hand; returns the connection to use for the next beat."""
        with self._lock:
            held = dict(self._held)
        started = time.monotonic()
        try:
            if connection is None or connection.is_closed():
                connection = await connect(self._dsn, timeout=min(CONNECT_TIMEOUT_SECS, self._beat_secs))
            if held:
                await self._extend(connection, held, started)
            self._tell_postgres(OK)
        except POSTGRES_ERRORS as error:
            log.warning("heartbeat failed: %r", error)
            self._tell_postgres(str(error) or type(error).__name__)
            self._metrics.heartbeat_failures.inc()
            self._failed_at = time.monotonic()
            if connection is not None:
                connection.terminate()
            connection = None
        self._give_up_late_ones()
        return connection

    @property
    def _beat_secs(self) -> float:
        return self._lease_secs / BEATS_PER_LEASE

    async def _extend(self, connection: asyncpg.Connection, held: dict[UUID, Held], started: float) -> None:
        rows = await connection.fetch(
            HEARTBEAT,
            list(held),
            [lease.active.run.attempt for lease in held.values()],
            timedelta(seconds=self._lease_secs),
            timeout=self._beat_secs,
        )
        self._metrics.heartbeats.inc()
        self._metrics.heartbeat_sql.observe(time.monotonic() - started)
        extended = {row["run_id"]: row["cancel_action"] for row in rows}
        for run_id, lease in held.items():
            if run_id not in extended:
                self._tell(lease, Stop.LOST)
            else:
                lease.until = started + self._lease_secs
                if extended[run_id] is not None:
                    self._tell(lease, Stop.CANCEL)

    def _give_up_late_ones(self) -> None:
        with self._lock:
            held = list(self._held.values())
        limit = time.monotonic() + self._lease_secs * MARGIN
        for lease in held:
            if lease.until < limit:
                self._tell(lease, Stop.LOST)

    def _tell(self, lease: Held, reason: Stop) -> None:
        """Stop a run on the worker's loop, unless it was released in the meantime."""

        def stop() -> None:
            held = self._held.get(lease.active.run.run_id)
            if held is lease:
                self._on_stop(lease.active, reason)

        self._worker_loop.call_soon_threadsafe(stop)

    def _on_stop(self, active: ActiveRun, reason: Stop) -> None:
        if reason is Stop.LOST and active.executing and active.stopped is not Stop.LOST:
            log.warning("lease of run %s (attempt %s) lost", active.run.run_id, active.run.attempt)
            self._metrics.leases_lost["taken_over" if self.valid(active) else "unreachable"].inc()
        active.stop(reason)

    async def _say_in_progress(self) -> None:
        with self._lock:
            held = [lease.ack_subject for lease in self._held.values() if lease.ack_subject is not None]
            subjects = [*held, *self._elsewhere]
        try:
            for subject in subjects if self._nats.connected else ():
                await self._nats.client.publish(subject, IN_PROGRESS)
        except NATS_ERRORS as error:
            log.debug("in_progress not sent: %r", error)


async def _set_within(event: asyncio.Event, secs: float) -> bool:
    try:
        async with asyncio.timeout(secs):
            await event.wait()
    except TimeoutError:
        return False
    return True
