"""Whether one more run may wait: a bound on the queue of each route, by the last look at it.

No run is counted where it is created: that would cost each create a look at all that wait. So between two looks more may be
accepted than there is room for, as many as all API processes accept in that time.

Where tenants take turns, a full queue is full for those who have filled it: each may have an equal part of it in any case, or whoever
has many runs would keep all others out. So it may come to hold twice as many as the bound says.
"""

from __future__ import annotations

import asyncio
import logging

from treadle.db.pool import postgres_errors
from treadle.db.queue import Queue
from treadle.db.turns import TurnRows
from treadle.errors import QueueFull, Unavailable
from treadle.telemetry.metrics import Metrics
from treadle.wire.runs import NewRun

log = logging.getLogger(__name__)

LOOK_SECS = 1.0
# A look at a long queue takes long: so many times that is the pause after it, which makes five per cent of one connection.
PAUSES = 20
# But a slow Postgres is soon asked again: until then whoever would make a run hears what was true before.
LONGEST_PAUSE_SECS = 10.0
DEFAULT_ROUTE = "default"


class QueueRoom:
    """The room in the queue of the route that new runs go to.

    Args:
        most: runs that may wait; 0: any number.
        turns: of tenants, if they take turns.
    """

    def __init__(
        self,
        queue: Queue,
        most: int,
        metrics: Metrics,
        route: str = DEFAULT_ROUTE,
        turns: TurnRows | None = None,
    ) -> None:
        self._queue = queue
        self._turns = turns
        self._of_tenants: dict[str, int] = {}
        self._most = most
        self._metrics = metrics
        self._route = route
        self._room = asyncio.Event()
        self._room.set()

    def check(self, tenant: str, *bodies: NewRun) -> None:
        """Let a tenant's requests for runs pass, or none of them. Answers to questions always do: they end what was begun.

        Raises:
            QueueFull: as many runs wait as may.
        """
        if (
            self._room.is_set()
            or all(_answers(body) for body in bodies)
            or self._has_part(tenant, len(bodies))
        ):
            return
        self._metrics.refused["queue"].inc()
        raise QueueFull(
            f"{self._most} runs or more wait on route {self._route}, and no more may (TREADLE_MAX_PENDING_RUNS). Nothing was "
            "accepted; ask again in a moment. If it lasts, start more workers."
        )

    async def wait(self) -> None:
        """Until there is room, for what has time."""
        await self._room.wait()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while self._most:
            look_secs = await self._look()
            await asyncio.sleep(pause_after(look_secs))

    def _has_part(self, tenant: str, count: int) -> bool:
        """Whether a tenant has room of its own in the full queue, and takes it."""
        waiting = self._of_tenants.get(tenant, 0) + count
        if self._turns is None or waiting > self._most // (len(self._of_tenants.keys() | {tenant})):
            return False
        self._of_tenants[tenant] = waiting
        return True

    async def _look(self) -> float:
        """Look once; returns how long that took. While Postgres cannot tell, what it told last counts, and it took no time."""
        try:
            with postgres_errors("counting the runs that wait"):
                waiting = await self._queue.waiting(self._route, self._most)
                if self._turns is not None and waiting.count >= self._most:
                    self._of_tenants = await self._turns.by_tenant(self._route)
        except Unavailable as error:
            log.debug("%s", error)
            return 0.0
        self._set(full=waiting.count >= self._most)
        return waiting.secs

    def _set(self, *, full: bool) -> None:
        if full and self._room.is_set():
            log.warning(
                "%s runs wait on route %s: no more are accepted until some have begun",
                self._most,
                self._route,
            )
            self._room.clear()
        elif not full and not self._room.is_set():
            log.info("there is room in the queue of route %s again", self._route)
            self._room.set()


def pause_after(look_secs: float) -> float:
    """How long to wait after a look that took so long."""
    return min(max(LOOK_SECS, PAUSES * look_secs), LONGEST_PAUSE_SECS)


def _answers(body: NewRun) -> bool:
    return body.command is not None and body.command.resume is not None
