"""Telling workers of runs: at once, or when it is their tenant's turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from treadle.db.pool import Pool
from treadle.errors import Unavailable
from treadle.graphs.config import Config
from treadle.graphs.tenants import Shares
from treadle.identity.guarded import is_guarded
from treadle.messaging.wakeups import Connection, Source, Waiting, WakeupPublisher
from treadle.operations.turns import RoomSeen, Turns
from treadle.patience import being_cancelled
from treadle.settings import Settings

log = logging.getLogger(__name__)

# Between two times that this process admits runs of others; and when a server was away.
PAUSE_SECS = 0.02
AWAY_PAUSE_SECS = 0.5


class Wakeups:
    """Sees to it that workers hear of runs.

    Args:
        turns: None: they hear of each at once.
    """

    def __init__(self, publisher: WakeupPublisher, turns: Turns | None) -> None:
        self._publisher = publisher
        self._turns = turns
        self._seen: dict[str, RoomSeen] = {}
        self._put_to: set[str] = set()
        self._put = asyncio.Event()

    async def wake(self, run: Waiting, source: Source, headers: Mapping[str, str] | None = None) -> bool:
        """See to it that workers hear of a run; False: the sweeper has to."""
        if self._turns is None:
            return await self._publisher.publish(run, source, headers=headers)
        if run.route not in self._seen:
            self._seen[run.route] = RoomSeen(self._turns, run.route)
        seen = self._seen[run.route]
        if await seen.take():
            return await self._publisher.publish(run, source, headers=headers)
        try:
            await self._turns.put(run.run_id)
        except Unavailable as error:
            log.warning("run %s waits for no turn (%s); the sweeper will wake it", run.run_id, error)
            return False
        seen.none()
        self._look_at(run.route)
        return True

    async def run(self) -> None:
        """Admit runs where some were put into the queue and there is room after all, until cancelled.

        That there is none is seen after the run was put there. So wake-ups are in NATS, and who takes one of them admits the next.
        """
        # A cancel may be forgotten on its way, by `asyncio.wait_for` up to Python 3.11.
        while self._turns is not None and not being_cancelled():
            await self._put.wait()
            self._put.clear()
            routes, self._put_to = self._put_to, set()
            pauses = [await self._admit(self._turns, route) for route in routes]
            await asyncio.sleep(max(pauses))

    async def _admit(self, turns: Turns, route: str) -> float:
        """How long to wait before the next look, at the least."""
        try:
            if (room := await turns.room(route)) > 0:
                await turns.admit(route, room)
        except Unavailable as error:
            log.debug("%s", error)
            self._look_at(route)
            return AWAY_PAUSE_SECS
        return PAUSE_SECS

    def _look_at(self, route: str) -> None:
        self._put_to.add(route)
        self._put.set()


def turns_of(config: Config, settings: Settings, pool: Pool, connection: Connection) -> Turns | None:
    """Turns, if shares are to be fair: there may be several tenants, or anything else decides who goes first."""
    several = is_guarded(config, settings) or bool(settings.treadle_identity_secret)
    wanted = several or bool(config.tenants) or config.priority is not None
    if settings.treadle_fair_share == "off" or (settings.treadle_fair_share == "auto" and not wanted):
        return None
    publisher = WakeupPublisher(connection, settings.treadle_nats_replicas)
    return Turns(pool, connection, publisher, Shares(config.tenants))
