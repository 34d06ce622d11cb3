"""Fair shares: no tenant's many runs keep another's first one waiting.

Wake-ups are first in, first out. So no more of them are published than workers need at the moment; further runs wait in Postgres
for their tenant's turn (migrations/0025_turns.sql). Whoever sees that there is room admits the next ones: a worker when it has taken
a wake-up or ended a run, an API process when it has put runs into that queue, and the scheduler now and then, for what slipped through.

Invariant: a pending run that is due has a wake-up, or waits for its turn, or is found by the sweeper. Runs are admitted first and
published then: what is lost in between has waited for long enough for the sweeper to find it at its next look.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from uuid import UUID

from treadle.coalescing import Coalescer
from treadle.db.pool import Pool, postgres_errors
from treadle.db.turns import Admitted, TurnRows
from treadle.errors import Unavailable
from treadle.graphs.tenants import Shares
from treadle.messaging.backlog import Backlog
from treadle.messaging.wakeups import Connection, Source, WakeupPublisher

log = logging.getLogger(__name__)

# What was seen of a route counts for so long at the most, and is looked at no more often than this.
FRESH_SECS = 1.0
LOOK_AGAIN_SECS = 0.02
# Runs that are put into the queue together.
TOGETHER = 500


class Turns:
    """Gives tenants their turns.

    Args:
        shares: of the tenants.
    """

    def __init__(
        self, pool: Pool, connection: Connection, publisher: WakeupPublisher, shares: Shares
    ) -> None:
        self._nats = connection
        self._publisher = publisher
        self._shares = shares
        self._rows = TurnRows(pool)
        self._backlogs: dict[str, Backlog] = {}
        self._put = Coalescer[UUID, None]("put-turns", self._put_together, most=TOGETHER)

    @property
    def limited(self) -> bool:
        """Whether tenants have limits, which are kept where turns are given: then every run waits for one, be it for a moment."""
        return self._shares.limited

    async def put(self, run_id: UUID) -> None:
        """Let a run wait for its turn.

        Raises:
            Unavailable: Postgres cannot be reached; the sweeper will find the run.
        """
        await self._put(run_id)

    async def any(self, route: str) -> bool:
        """Whether runs of a route wait for their turn. Raises Unavailable."""
        with postgres_errors("looking who waits for a turn"):
            return await self._rows.any(route)

    async def room(self, route: str) -> int:
        """How many more wake-ups NATS can do with, as far as it tells; 0 or less: none."""
        if route not in self._backlogs:
            self._backlogs[route] = Backlog(self._nats, route)
        return await self._backlogs[route].room()

    async def admit(self, route: str, room: int) -> int:
        """Tell workers of the next runs whose turn it is, `room` at the most; returns of how many.

        Raises:
            Unavailable: Postgres cannot be reached.
        """
        with postgres_errors("looking whose turn it is"):
            runs = await self._rows.admit(route, room, self._shares.by_tenant)
        lost = [run.run_id for run in await self._not_published(runs)]
        if lost:
            with postgres_errors("giving runs back their turn"):
                await self._rows.put(lost)
        return len(runs) - len(lost)

    async def admit_all(self) -> int:
        """The same wherever runs wait, as far as NATS has room; returns of how many."""
        with postgres_errors("looking where runs wait for their turn"):
            routes = await self._rows.routes()
        admitted = 0
        for route in routes:
            if (room := await self.room(route)) > 0:
                admitted += await self.admit(route, room)
        return admitted

    async def _not_published(self, runs: Sequence[Admitted]) -> list[Admitted]:
        taken = await asyncio.gather(*(self._publisher.publish(run, Source.CREATE) for run in runs))
        return [run for run, is_taken in zip(runs, taken, strict=True) if not is_taken]

    async def _put_together(self, run_ids: Sequence[UUID]) -> Sequence[None]:
        with postgres_errors("putting runs into the queue of turns"):
            await self._rows.put(run_ids)
        return [None] * len(run_ids)


class RoomSeen:
    """The room on a route, as a process knows it that puts runs there: looked at now and then, and counted in between."""

    def __init__(self, turns: Turns, route: str) -> None:
        self._turns = turns
        self._route = route
        self._looking: asyncio.Task[None] | None = None
        self._room = 0
        self._at = -FRESH_SECS

    async def take(self) -> bool:
        """Take a place for a run that workers are to be told of at once, if NATS is short of such and nobody waits for a turn."""
        if self._turns.limited:
            return False
        if self._spend():
            return True
        if self._age_secs < LOOK_AGAIN_SECS:
            return False
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="look-for-room")
        await asyncio.shield(self._looking)
        return self._spend()

    def none(self) -> None:
        """Somebody waits for a turn: nobody goes before."""
        self._room, self._at = 0, time.monotonic()

    @property
    def _age_secs(self) -> float:
        return time.monotonic() - self._at

    def _spend(self) -> bool:
        if self._room <= 0 or self._age_secs > FRESH_SECS:
            return False
        self._room -= 1
        return True

    async def _look(self) -> None:
        try:
            waits, room = await asyncio.gather(self._turns.any(self._route), self._turns.room(self._route))
        except Unavailable as error:
            log.debug("%s", error)
            waits, room = True, 0
        self._room, self._at = 0 if waits else room, time.monotonic()
