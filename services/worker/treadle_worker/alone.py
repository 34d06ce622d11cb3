"""`python -m treadle_worker.alone NAME THREAD DESCRIPTOR`: executes the next run of one thread, and ends.

A worker starts it for a run whose next attempt is its last (`treadle_worker.solitude`). It works as a worker does, under
a lease of its own, but for where its one wake-up comes from. It goes on with no other run: those need no process of their own.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from uuid import UUID

from treadle.db.runs import Lease
from treadle.messaging.subjects import wakeup_subject
from treadle.service import Given, serve
from treadle.telemetry.metrics import Metrics
from treadle.webhooks.outbox import Outbox
from treadle_worker import cancels
from treadle_worker.drain import Drain
from treadle_worker.equipment import Equipment, end_what_does_not_end, equip
from treadle_worker.lifeline import DRAIN, HASTEN, ChildEnd, die_first, die_with_parent
from treadle_worker.slot import Work
from treadle_worker.spans import Spans

# One run, however wide its graph is.
POOL_SIZE = 4


class Asked:
    """What stands for the wake-up, which the worker has: nobody waits for the answer."""

    run_id: UUID | None = None
    redelivered = False
    deliveries = 1
    ack_subject: str | None = None
    headers: Mapping[str, str] = {}

    def __init__(self, route: str, thread_id: UUID) -> None:
        self.thread_id = thread_id
        self.subject = wakeup_subject(route, thread_id)

    async def ack(self) -> None:
        pass

    async def nak(self, delay_secs: float) -> None:
        pass


class Alone:
    """The process."""

    def __init__(self, given: Given, name: str, thread_id: UUID, line: ChildEnd) -> None:
        self._given = given
        self._name = name
        self._thread_id = thread_id
        self._line = line
        self._metrics = Metrics()
        settings = given.settings
        self._lease = Lease(name, settings.treadle_lease_secs, settings.bg_job_max_retries, alone=True)
        self._drain = Drain(given.settings.bg_job_shutdown_grace_period_secs)

    async def run(self) -> None:
        """Execute the run, or hand it back when the worker drains."""
        heed(self._line, self._drain)
        self._drain.listen()  # signals may come to the whole group, besides the worker's word
        async with AsyncExitStack() as stack:
            opening = equip(
                stack,
                self._given,
                self._name,
                self._metrics,
                lease=self._lease,
                drain=self._drain,
                runs_at_once=1,
                pool_size=self._pool_size,
            )
            equipment = await self._drain.unless_started(opening)
            if equipment is not None:
                await self._execute(equipment)
        self._line.say_end(self._statuses())
        if equipment is not None:
            end_what_does_not_end(equipment.executor, self._given.tracing)

    @property
    def _pool_size(self) -> int:
        return min(POOL_SIZE, self._given.settings.treadle_db_pool_size)

    async def _execute(self, equipment: Equipment) -> None:
        async with asyncio.TaskGroup() as tasks:
            helping = (
                tasks.create_task(cancels.listen(equipment.bus, equipment.executor), name="cancels"),
                tasks.create_task(equipment.savers.tend(), name="checkpoints"),
            )
            working = tasks.create_task(self._work(equipment), name="slot")
            draining = tasks.create_task(self._drain.started.wait(), name="drain")
            await asyncio.wait({working, draining}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await self._drain.finish(equipment.executor, [working])
            for task in (draining, *helping):
                task.cancel()

    async def _work(self, equipment: Equipment) -> None:
        settings = self._given.settings
        spans = Spans(self._given.tracing, settings.treadle_route)
        work = Work(
            equipment.runs,
            equipment.leases,
            equipment.executor,
            self._lease,
            self._metrics,
            spans,
            Outbox[UUID](_deliver_none, at_once=0, waiting=0),
            self._drain,
            None,
        )
        asked = Asked(settings.treadle_route, self._thread_id)
        with spans.process(asked):
            await work.look_at(asked)

    def _statuses(self) -> list[str]:
        """With which statuses runs have ended here: the worker counts them, since nobody reads this process's metrics."""
        known = self._metrics.runs_ended
        value = self._metrics.registry.get_sample_value
        return [status for status in known if value("treadle_runs_ended_total", {"status": status})]


def heed(line: ChildEnd, drain: Drain) -> None:
    """Drain as the worker does, also while code of a node blocks the running loop."""
    loop = asyncio.get_running_loop()

    def on_word(word: bytes) -> None:
        if word in (DRAIN, HASTEN):
            drain.tell(loop, haste=word == HASTEN)

    line.listen(on_word)


async def _deliver_none(_: UUID) -> None:
    """Webhooks are the scheduler's: this process ends before they would be delivered."""


def main() -> None:
    name, thread_id, descriptor = sys.argv[1:]
    die_with_parent()
    die_first()
    line = ChildEnd(int(descriptor))
    serve("worker-alone", lambda given: Alone(given, name, UUID(thread_id), line).run())


if __name__ == "__main__":
    main()
