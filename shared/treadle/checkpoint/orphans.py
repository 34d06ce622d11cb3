"""Removes from a checkpointer of the user's own what is gone from Postgres: runs rolled back, runs and threads removed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver

from treadle.db import orphans
from treadle.db.pool import Pool, postgres_errors, transaction
from treadle.errors import Unavailable

log = logging.getLogger(__name__)

INTERVAL_SECS = 2.0
BATCH = 100


class Orphans:
    """Removes a thread's orphaned checkpoints before it is used again, and those of all other threads now and then.

    Only one process at a time does so for a thread, and whoever wants to use it waits for that: a thread that is made
    anew under its old id cannot lose what it has just been given.
    """

    def __init__(self, pool: Pool, saver: BaseCheckpointSaver[Any]) -> None:
        self._pool = pool
        self._saver = saver

    async def remove(self, thread_id: UUID) -> None:
        """Remove what is orphaned of a thread.

        Raises:
            Unavailable: Postgres cannot be reached. What the checkpointer raises is raised as it is.
        """
        with postgres_errors("removing checkpoints"):
            async with transaction(self._pool) as connection:
                if not (found := await orphans.orphans_of(connection, thread_id)):
                    return
                if any(orphan.run_id is None for orphan in found):
                    await self._saver.adelete_thread(str(thread_id))
                else:
                    for run_id in {str(orphan.run_id) for orphan in found}:
                        await self._remove_run(str(thread_id), run_id)
                await orphans.remove(connection, found)

    async def _remove_run(self, thread_id: str, run_id: str) -> None:
        try:
            await self._saver.adelete_for_runs([run_id])
        except NotImplementedError:
            if await self._has_others(thread_id, run_id):
                log.error(
                    "run %s of thread %s was rolled back, and its checkpoints stay: the checkpointer that langgraph.json "
                    "names has no adelete_for_runs, and the thread has checkpoints of other runs",
                    run_id,
                    thread_id,
                )
            else:
                await self._saver.adelete_thread(thread_id)

    async def _has_others(self, thread_id: str, run_id: str) -> bool:
        """Whether the thread has checkpoints that this run has not written."""
        async for found in self._saver.alist({"configurable": {"thread_id": thread_id}}):
            if (found.metadata or {}).get("run_id") != run_id:
                return True
        return False

    async def tend(self) -> None:
        """Remove what nobody comes back for, until cancelled. What fails is tried again."""
        while True:
            try:
                with postgres_errors("looking for orphaned checkpoints"):
                    waiting = await orphans.threads_with_orphans(self._pool, BATCH)
                for thread_id in waiting:
                    await self.remove(thread_id)
            except Unavailable as error:
                log.warning("%s", error)
            except Exception:
                log.exception("orphaned checkpoints could not be removed")
            await asyncio.sleep(INTERVAL_SECS)
