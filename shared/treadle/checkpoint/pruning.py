"""Pruning a thread: its checkpoints go, but for the newest ones and what they need."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any
from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver

from treadle.checkpoint.reaching import ReachingSaver
from treadle.db.pool import Pool, transaction
from treadle.db.scope import Scope
from treadle.db.threads import lock_at_rest, set_pruned
from treadle.errors import Unavailable


class PruningSaver(ReachingSaver):
    """One that prunes: a thread's whole history goes in one statement, which may take longer than others."""

    doing = "checkpoints were pruned"
    answer_secs = 300.0


class Pruned(Enum):
    """What became of a thread that was to be pruned."""

    DONE = auto()
    REFUSED = auto()
    """It cannot be pruned, and is due no more until something happens on it."""
    LATER = auto()
    """It is missing, or runs of it go on; nothing was done."""


class Pruning:
    """Prunes threads that are at rest.

    The saver knows what each namespace's newest checkpoint needs: its pending writes, the values that it shares with
    older ones, and the subgraphs that wait inside of it. A channel that stores differences needs every checkpoint
    back to its last snapshot: savers refuse such threads, and they stay as they are.
    """

    def __init__(self, pool: Pool, saver: BaseCheckpointSaver[Any]) -> None:
        self._pool = pool
        self._saver = saver

    async def keep_latest(self, scope: Scope, thread_id: UUID) -> Pruned:
        """Prune a thread, if it is at rest.

        Raises:
            Unavailable: Postgres went away; nothing was done.
        """
        async with transaction(self._pool) as connection:
            if not await lock_at_rest(connection, scope, thread_id):
                return Pruned.LATER
            pruned = await self._prune(thread_id)
            await set_pruned(connection, thread_id)
        return pruned

    async def _prune(self, thread_id: UUID) -> Pruned:
        try:
            await self._saver.aprune([str(thread_id)], strategy="keep_latest")
        except NotImplementedError:
            return Pruned.REFUSED
        except Unavailable as error:
            raise Unavailable(f"Thread {thread_id} was not pruned. {error}") from error
        return Pruned.DONE
