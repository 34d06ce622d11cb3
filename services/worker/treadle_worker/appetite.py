"""How many more runs a worker could do with: it admits those whose turn it is (`treadle.operations.turns`) as it takes wake-ups.

Each worker goes by its own: it sees to its free slots, and to a little that lies ready. What it takes tells how much lies there
already, at no cost. One that has nothing to do takes what another one has laid ready, and sees to itself from then on.
"""

from __future__ import annotations

import asyncio
import logging

from treadle.errors import Unavailable
from treadle.messaging.pace import Pace
from treadle.operations.turns import Turns
from treadle.patience import being_cancelled

log = logging.getLogger(__name__)

# Before the next look: when nobody waited for a turn, and when a server was away.
EMPTY_PAUSE_SECS = 0.05
AWAY_PAUSE_SECS = 0.5


class Appetite:
    """Counts what a worker takes and has in work, and admits what it has room for.

    Args:
        turns: None: no run waits for a turn, and nothing is counted.
    """

    def __init__(self, turns: Turns | None, route: str, slots: int) -> None:
        self._turns = turns
        self._route = route
        self._slots = slots
        self._in_work = 0
        self._lie_ready = 0
        self._taken = 0
        self._pace = Pace()
        self._changed = asyncio.Event()
        self._changed.set()  # nobody may have been here before

    def took(self, lie_ready: int) -> None:
        """A slot has taken a wake-up, and so many others lay ready at that moment."""
        self._in_work += 1
        self._taken += 1
        self._lie_ready = lie_ready
        self._changed.set()

    def finished(self) -> None:
        """What it led to is over."""
        self._in_work -= 1
        self._changed.set()

    async def run(self) -> None:
        """Admit runs as there comes room for them, until cancelled."""
        # A cancel may be forgotten on its way, by `asyncio.wait_for` up to Python 3.11.
        while self._turns is not None and not being_cancelled():
            await self._something_happens()
            if (room := self._room()) > 0:
                await asyncio.sleep(await self._admit(self._turns, room))

    async def _something_happens(self) -> None:
        expected = self._free > 0 and self._lie_ready > 0
        try:
            async with asyncio.timeout(EMPTY_PAUSE_SECS if expected else None):
                await self._changed.wait()
        except TimeoutError:
            # A slot waits for a wake-up, and none comes: others have taken what this worker laid ready.
            self._lie_ready = 0
        self._changed.clear()

    async def _admit(self, turns: Turns, room: int) -> float:
        """How long to wait before the next look, at the least."""
        try:
            admitted = await turns.admit(self._route, room)
        except Unavailable as error:
            log.debug("%s", error)
            self._changed.set()
            return AWAY_PAUSE_SECS
        self._lie_ready += admitted
        return 0 if admitted else EMPTY_PAUSE_SECS

    @property
    def _free(self) -> int:
        return self._slots - self._in_work

    def _room(self) -> int:
        """How many to admit now: none while there is one ready for each free slot, and half of what may lie ready; they go together."""
        ahead = self._pace.ahead(self._taken)
        if self._lie_ready >= self._free and self._lie_ready > ahead // 2:
            return 0
        return self._free + ahead - self._lie_ready
