"""Ends a worker whose event loop hangs, and what it holds, from the thread that keeps its leases.

A node that blocks the loop for a while costs its neighbours their progress and nobody a lease. One that blocks it for ever
would hold all of them for ever: no timeout, no cancel and no drain can run. So when the loop is silent although a run is past
its time, or the process was told to stop and its grace is over, this thread does what the loop should have done:

- runs that are past their time end as `timeout`;
- the others go back, and other workers resume them at once. Only the one that blocks, if it is not among those that end, is
  left to be taken over, which counts as a crash: else it would go from worker to worker. Where it is not known, this is
  done with all of them. When the process was told to stop, nobody is to blame, and nothing is counted;
- the process ends with EX_SOFTWARE, and its supervisor starts another.

All writes are fenced by attempt, so what the loop still does when it wakes up in the middle of this changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from types import FrameType
from uuid import UUID

from asyncpg import PostgresError
from nats.aio.client import Client

from treadle import json
from treadle.db.pool import connect_pool, postgres_errors
from treadle.db.runs import Lease, Outcome, Runs
from treadle.errors import Unavailable
from treadle.messaging.connection import NATS_ERRORS
from treadle.streaming import StreamLimits, connect, publish_end
from treadle.telemetry.logs import bound
from treadle_worker.active import ActiveRun, timed_out
from treadle_worker.drain import LAST_STEP_SECS, Drain
from treadle_worker.held import Held
from treadle_worker.slot import PULL_SECS

log = logging.getLogger(__name__)

EX_SOFTWARE = os.EX_SOFTWARE
LOOK_SECS = 0.5
# For all that is done at the end: the process ends after it, whatever hangs.
LET_GO_SECS = 10.0
# For the code that blocks to say whose it is.
BLOCKER_SECS = 1.0
POSTGRES_CONNECTIONS = 4


@dataclass(frozen=True)
class Limits:
    """How long what may take.

    Attributes:
        timeout_secs: one attempt of a run.
        stuck_secs: the loop may be silent when it has something to end.
    """

    timeout_secs: float
    stuck_secs: float


@dataclass(frozen=True)
class Addresses:
    """Of the servers, with credentials."""

    database_uri: str = field(repr=False)
    redis_uri: str = field(repr=False)


class Watchdog:
    """Looks after the main loop. `listen` is for the main thread, `watch` for the loop of another."""

    def __init__(self, addresses: Addresses, lease: Lease, limits: Limits, drain: Drain) -> None:
        self._addresses = addresses
        self._lease = lease
        self._limits = limits
        self._drain = drain
        self._asked = False
        self._silent_secs = 0.0
        self._blocker: UUID | None = None
        self._told = threading.Event()

    def listen(self) -> None:
        """Be ready to be asked which run's code the main thread is in.

        A signal's handler runs in the midst of that code, and so sees its context variables.
        """
        signal.signal(signal.SIGUSR1, self._tell_whose)

    def _tell_whose(self, _: int, __: FrameType | None) -> None:
        run_id = bound().get("run_id")
        self._blocker = UUID(str(run_id)) if run_id else None
        self._told.set()

    async def watch(
        self, loop: asyncio.AbstractEventLoop, held: Callable[[], Sequence[Held]], client: Client
    ) -> None:
        """Look at a loop until cancelled; does not return when it hangs.

        Args:
            held: the runs in hand.
            client: a connection to NATS that is not the loop's.
        """
        while True:
            self._ask(loop)
            await asyncio.sleep(LOOK_SECS)
            # Counted rather than read off a clock: a process that was paused has not been silent in the meantime.
            self._silent_secs = self._silent_secs + LOOK_SECS if self._asked else 0.0
            now = time.monotonic()
            overdue = [each for each in held() if now > self._ends_at(each)]
            if self._drain_is_stuck(now) or (overdue and self._silent_secs >= self._limits.stuck_secs):
                await self._let_go(held(), overdue, client)

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._asked:
            self._asked = True
            loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._asked = False

    def _ends_at(self, held: Held) -> float:
        """When a run should have been ended by the loop, at the latest."""
        return held.claimed_at + self._limits.timeout_secs + self._limits.stuck_secs

    def _drain_is_stuck(self, now: float) -> bool:
        over_at = self._drain.over_at
        return (
            over_at is not None
            and now >= over_at
            and self._silent_secs >= min(self._limits.stuck_secs, LAST_STEP_SECS)
        )

    async def _let_go(self, held: Sequence[Held], overdue: Sequence[Held], client: Client) -> None:
        """Let go of everything, and end the process."""
        end = threading.Timer(LET_GO_SECS, os._exit, (EX_SOFTWARE,))
        end.daemon = True
        end.start()
        try:
            blocker = self._whose()
            self._log(held, blocker)
            ended = {each.active.run.run_id for each in overdue}
            charged = self._charged(held, ended, blocker)
            await self._settle(held, ended, charged)
            await self._put_back(held, client)
            await self._announce(overdue)
        except (Unavailable, PostgresError) as error:
            log.critical("the runs go on elsewhere when their leases end: %s", error)
        finally:
            os._exit(EX_SOFTWARE)

    def _whose(self) -> UUID | None:
        """The run whose code the main thread is in; None when it does not say: it is in a library's machine code."""
        signal.pthread_kill(_main_thread(), signal.SIGUSR1)
        return self._blocker if self._told.wait(BLOCKER_SECS) else None

    def _log(self, held: Sequence[Held], blocker: UUID | None) -> None:
        frame = sys._current_frames().get(_main_thread())  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        log.critical(
            "the event loop has been blocked for %g seconds by %s; this process ends, and another worker goes on with its %s "
            "runs (%s). The code that blocks, innermost last:\n%s",
            self._silent_secs,
            f"run {blocker}" if blocker else "code of a run that is not known",
            len(held),
            ", ".join(str(each.active.run.run_id) for each in held),
            "".join(traceback.format_stack(frame)),
        )

    def _charged(
        self, held: Sequence[Held], ended: Collection[UUID], blocker: UUID | None
    ) -> Collection[UUID]:
        """The runs for which this counts as a crash."""
        if self._drain.over_at is not None or blocker in ended:
            return ()
        known = {each.active.run.run_id for each in held}
        return {blocker} if blocker is not None and blocker in known else known - set(ended)

    async def _settle(self, held: Sequence[Held], ended: Collection[UUID], charged: Collection[UUID]) -> None:
        with postgres_errors("letting go of the runs of a worker that hangs"):
            pool = await connect_pool(
                self._addresses.database_uri, size=POSTGRES_CONNECTIONS, service="worker-watchdog"
            )
            runs = Runs(pool)

            async def settle(active: ActiveRun) -> None:
                run = active.run
                if run.run_id in ended:
                    error = json.encode(timed_out(run, self._limits.timeout_secs))
                    outcome = Outcome(status="timeout", resting="error", error=error)
                    await runs.finish(run, outcome, self._lease, claim_next=False)
                elif run.run_id in charged:
                    await runs.abandon(run)
                else:
                    await runs.hand_back(run)

            done = await asyncio.gather(*(settle(each.active) for each in held), return_exceptions=True)
        for each, error in zip(held, done, strict=True):
            if error is not None:
                log.error("run %s goes on only when its lease ends: %r", each.active.run.run_id, error)

    async def _put_back(self, held: Sequence[Held], client: Client) -> None:
        """Have NATS deliver the messages elsewhere, once it has forgotten what the blocked loop had asked it for."""
        delay_secs = max(0.01, PULL_SECS + LOOK_SECS - self._silent_secs)
        answer = b"-NAK " + json.encode({"delay": int(delay_secs * 1e9)})
        try:
            for each in held:
                if each.ack_subject is not None:
                    await client.publish(each.ack_subject, answer)
            await client.flush(1)
        except NATS_ERRORS as error:
            log.warning("the messages of the runs come again by themselves: %r", error)

    async def _announce(self, overdue: Sequence[Held]) -> None:
        """Tell who watches the runs that have ended, and why."""
        redis = connect(self._addresses.redis_uri)
        for each in overdue:
            run = each.active.run
            events = [("error", json.encode(timed_out(run, self._limits.timeout_secs)))]
            try:
                await publish_end(
                    redis, run.run_id, run.attempt + 1, {"status": "timeout"}, StreamLimits(), events=events
                )
            except Unavailable as error:
                log.warning("%s", error)


def _main_thread() -> int:
    ident = threading.main_thread().ident
    assert ident is not None  # noqa: S101 - it runs
    return ident
