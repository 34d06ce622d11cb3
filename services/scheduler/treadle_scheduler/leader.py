"""Leading: the duties are on in the one process that holds the lead, and move when it falls silent.

Two leaders at once (a process that hung and came back) would do harm to nothing: every duty repeats wake-ups, removes
what is due, or makes what the database lets be made once only. The lead saves work; it does not protect anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from treadle.db.leader import Leadership
from treadle.db.pool import postgres_errors
from treadle.errors import Unavailable
from treadle.patience import OK, Tell, nobody
from treadle.telemetry.metrics import Metrics
from treadle_scheduler.duty import Duty, perform

log = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3


class Leader:
    """Competes for the lead, and performs the duties while it has it.

    Args:
        tell: is told at each turn how Postgres is.
    """

    def __init__(
        self, lead: Leadership, secs: float, duties: Sequence[Duty], metrics: Metrics, tell: Tell = nobody
    ) -> None:
        self._tell = tell
        self._lead = lead
        self._secs = secs
        self._duties = duties
        self._metrics = metrics

    async def run(self) -> None:
        """Until cancelled; then the lead is given up, so that another process takes over at once."""
        performing: list[asyncio.Task[None]] = []
        try:
            while True:
                leads = await self._take()
                if leads and not performing:
                    log.info("leading")
                    performing = [
                        asyncio.create_task(perform(duty, self._metrics), name=f"duty-{duty.name}")
                        for duty in self._duties
                    ]
                elif not leads and performing:
                    log.warning("lost the lead")
                    await _stop(performing)
                    performing = []
                await self._next_turn(performing)
        finally:
            await _stop(performing)
            await self._give_up()

    async def _take(self) -> bool:
        try:
            with postgres_errors("taking the lead"):
                leads = await self._lead.take()
            self._tell(OK)
            return leads
        except Unavailable as error:
            self._tell(str(error))
            log.warning("%s", error)
            return False

    async def _give_up(self) -> None:
        """Without Postgres the lead ends on its own, with its lease."""
        try:
            with postgres_errors("giving up the lead"):
                await self._lead.give_up()
        except Unavailable as error:
            log.warning("%s", error)

    async def _next_turn(self, performing: list[asyncio.Task[None]]) -> None:
        """Wait for the next renewal; a duty that ends by a defect ends the process, which is started again."""
        if not performing:
            await asyncio.sleep(self._secs / RENEWALS_PER_LEASE)
            return
        done, _ = await asyncio.wait(
            performing, timeout=self._secs / RENEWALS_PER_LEASE, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            task.result()


async def _stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
