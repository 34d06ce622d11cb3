"""Solitary attempts: a run whose next attempt is its last makes it in a process of its own.

A run that kills its worker takes the others on that worker along, and nobody can tell which of them did it. The attempt that
decides whether a run is given up is therefore made where there is nobody else to blame, and nobody else to harm.
(What makes a run solitary, and when it is given up: migrations/0014_solitary_runs.sql.)

This is the worker's side: it starts the process (`treadle_worker.alone`), passes its own drain on, and testifies when the
process has died. The wake-up stays with the slot, which looks at the thread again afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import sys
from asyncio.subprocess import Process
from uuid import UUID

from asyncpg import PostgresError

from treadle.db.pool import postgres_errors
from treadle.db.runs import Runs
from treadle.errors import Unavailable
from treadle.telemetry.metrics import Metrics
from treadle_worker.drain import Drain
from treadle_worker.lifeline import DRAIN, HASTEN, ParentEnd

log = logging.getLogger(__name__)

# Each costs a whole interpreter with the user's imports, and two that use up the memory together blame each other.
AT_ONCE = 1
# One whose turn has not come is looked at again after this long, and this much more each time.
TURN_SECS = 0.5
LONGEST_TURN_SECS = 15.0
# A process that could not be started, died before it had its run, or left it as it was, has cost the run nothing: it is tried
# again after this long, and this much more each time.
AGAIN_SECS = 1.0
LONGEST_AGAIN_SECS = 30.0
# To load the graphs, to connect, to let go: on top of the time that an attempt may take.
AROUND_SECS = 300.0
# From its last words to its end.
LAST_SECS = 5.0


class Solitude:
    """Executes runs alone, a few at a time.

    Args:
        worker: the worker's own name.
        timeout_secs: how long an attempt may take. The process sees to that, unless it hangs.
    """

    def __init__(
        self, worker: str, runs: Runs, drain: Drain, metrics: Metrics, *, timeout_secs: float
    ) -> None:
        self._worker = worker
        self._runs = runs
        self._drain = drain
        self._metrics = metrics
        self._longest_secs = timeout_secs + AROUND_SECS
        self._numbers = itertools.count(1)
        self._on = 0

    async def attempt(self, thread_id: UUID, deliveries: int) -> float:
        """Have the thread's next run executed, if it is its turn.

        Args:
            deliveries: how often its wake-up was delivered by now.

        Returns:
            After how many seconds the thread is to be looked at again.
        """
        if self._drain.started.is_set():
            return 0
        if self._on >= AT_ONCE:
            return min(TURN_SECS * deliveries, LONGEST_TURN_SECS)
        self._on += 1
        try:
            settled = await self._attempt(thread_id)
        finally:
            self._on -= 1
        if settled or self._drain.started.is_set():
            return 0
        return min(AGAIN_SECS * deliveries, LONGEST_AGAIN_SECS)

    async def _attempt(self, thread_id: UUID) -> bool:
        """Make it; whether anything has come of it, good or bad."""
        name = f"{self._worker}-alone-{next(self._numbers)}"
        ours, theirs = socket.socketpair()
        with ours:
            try:
                with theirs:
                    process = await _start(name, thread_id, theirs)
            except OSError as error:
                log.error("no process could be started for a run of thread %s: %s", thread_id, error)
                self._metrics.solitary_attempts["not_begun"].inc()
                return False
            ended = await self._ended(process, ParentEnd(ours))
        if ended is None:
            return await self._testify(thread_id, name, process)
        self._metrics.solitary_attempts["ended" if ended else "left"].inc()
        for status in ended:
            self._metrics.runs_ended[status].inc()
        return bool(ended)

    async def _ended(self, process: Process, line: ParentEnd) -> list[str] | None:
        """Wait until it has ended, and return its last words. One that takes longer than any attempt may hangs, and is killed."""
        passing = asyncio.create_task(self._pass_on(line), name="pass on the drain")
        words = asyncio.create_task(line.last_words(), name="last words")
        exited = asyncio.create_task(process.wait(), name="exit")
        try:
            await asyncio.wait(
                {words, exited}, timeout=self._longest_secs, return_when=asyncio.FIRST_COMPLETED
            )
            # A thread that a node has left behind may keep it from ending; a process that it has, the line from closing.
            await asyncio.wait({words, exited}, timeout=LAST_SECS)
            return words.result() if words.done() else None
        finally:
            passing.cancel()
            words.cancel()
            if process.returncode is None:
                log.warning("process %s does not end, and is killed", process.pid)
                process.kill()
            await exited

    async def _pass_on(self, line: ParentEnd) -> None:
        await self._drain.started.wait()
        line.say(DRAIN)
        await self._drain.hastened.wait()
        line.say(HASTEN)

    async def _testify(self, thread_id: UUID, name: str, process: Process) -> bool:
        """Say in the database that the process has died of its own run, which ends its lease; False: it had none.

        Should that fail, the lease ends by itself, and the run has one more attempt.
        """
        try:
            with postgres_errors("testifying of a solitary attempt"):
                run_id = await self._runs.died_alone(thread_id, name)
        except (Unavailable, PostgresError) as error:
            log.warning("that the solitary attempt %s died could not be written: %s", name, error)
            return False
        if run_id is None:
            log.warning("%s ended with status %s, without a run", name, process.returncode)
            self._metrics.solitary_attempts["not_begun"].inc()
            return False
        log.warning("run %s killed the process that it had for itself (%s)", run_id, process.returncode)
        self._metrics.solitary_attempts["died"].inc()
        return True


async def _start(name: str, thread_id: UUID, line: socket.socket) -> Process:
    """The same code with the same settings and outputs; only the port for metrics is taken."""
    descriptor = line.fileno()
    isolated = ["-P"] if sys.flags.safe_path else []
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *isolated,
        *("-m", "treadle_worker.alone", name, str(thread_id), str(descriptor)),
        stdin=asyncio.subprocess.DEVNULL,
        env={**os.environ, "METRICS_PORT": "0"},
        pass_fds=(descriptor,),
    )
