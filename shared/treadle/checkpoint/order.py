"""The order of a thread's checkpoints, whatever the clocks of the hosts say.

A thread's newest checkpoint is the one with the highest id, and langgraph makes ids from the clock of the host that runs the
graph. A run that goes on at a host whose clock is behind would write checkpoints that lie before those that it goes on
from: all that it does would be lost to whoever asks for the newest. So what makes a checkpoint after having read one
makes its id above that one, as with a Lamport clock: langgraph's generator never goes back within a process, and is told
here of ids that come from other processes.
"""

from __future__ import annotations

from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, get_checkpoint_id
from langgraph.checkpoint.base import id as generator

from treadle.checkpoint.reaching import ReachingSaver

# In 100 nanoseconds since 1582: the year 3409. What lies beyond was made by no clock, and ids have no room for much more.
BEYOND = 1 << 59
# What langgraph's generator goes on from.
NEWEST_MOMENT = "_last_v6_timestamp"
NEWEST = "select max(checkpoint_id) as newest from checkpoints where thread_id = %s and checkpoint_ns = %s"


def stay_above(checkpoint_id: str | None) -> None:
    """From now on this process makes ids of checkpoints that are above this one. An id that langgraph did not make
    is passed over."""
    moment = _moment(checkpoint_id)
    if moment is not None and moment > (getattr(generator, NEWEST_MOMENT) or 0):
        setattr(generator, NEWEST_MOMENT, moment)


def _moment(checkpoint_id: str | None) -> int | None:
    try:
        made = generator.UUID(checkpoint_id)
    except (ValueError, TypeError):
        return None
    return made.time if made.version == 6 and made.time < BEYOND else None


class OrderedSaver(ReachingSaver):
    """The stock saver; what is written after it was read is newer than all that was there."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that a config names, or the newest one."""
        found = await super().aget_tuple(config)
        if found is not None:
            stay_above(
                found.checkpoint["id"] if get_checkpoint_id(config) is None else await self._newest(config)
            )
        return found

    async def _newest(self, config: RunnableConfig) -> str | None:
        """A branch that begins in the thread's past has to lie above all others."""
        place = cast("dict[str, Any]", config)["configurable"]
        async with self._cursor() as cursor:
            await cursor.execute(NEWEST, (str(place["thread_id"]), place.get("checkpoint_ns", "")))
            row = await cursor.fetchone()
        return None if row is None else row["newest"]
