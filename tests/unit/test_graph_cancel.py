"""A graph factory that cancels itself, and what that means to the slot."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from treadle_worker.active import ActiveRun
from treadle_worker.endings import Ended
from treadle_worker.execution import Executor


class Cancelled(Executor):
    """Its graphs cannot be made: their factory is cancelled, by itself or with the slot."""

    def __init__(self, *, by_itself: bool) -> None:
        self.by_itself = by_itself

    async def _in_graph(self, active: Any, writer: Any, trace: Any) -> Any:
        if self.by_itself:
            raise asyncio.CancelledError
        await asyncio.Event().wait()

    async def guarded(self) -> Any:
        run = SimpleNamespace(run_id=uuid4(), attempt=1)
        writer = cast(Any, SimpleNamespace(write=print))
        return await self._guarded(cast(ActiveRun, SimpleNamespace(run=run)), writer, None)


async def test_a_factory_that_cancels_itself_ends_its_run_and_not_the_slot() -> None:
    slot = asyncio.create_task(Cancelled(by_itself=True).guarded())
    await asyncio.wait({slot})
    assert not slot.cancelled()
    assert isinstance(slot.result(), Ended)


async def test_a_slot_that_is_cancelled_is() -> None:
    slot = asyncio.create_task(Cancelled(by_itself=False).guarded())
    await asyncio.sleep(0)
    slot.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slot
