"""Listens for cancel signals. A signal that is missed is seen in the database at the next heartbeat."""

from __future__ import annotations

from treadle.streaming import CancelBus
from treadle_worker.execution import Executor


async def listen(bus: CancelBus, executor: Executor) -> None:
    """Stop runs of this worker that are cancelled, for as long as the task lives."""
    async for signal in bus.listen():
        executor.cancel(signal.run_id)
