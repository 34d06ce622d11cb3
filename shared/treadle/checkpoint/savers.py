"""Where checkpoints are kept: Postgres, or a checkpointer of the user's own (`checkpointer.path` of langgraph.json)."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, cast
from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from treadle.checkpoint.copying import copy_thread
from treadle.checkpoint.direct import DirectSaver
from treadle.checkpoint.fenced import FencedSaver
from treadle.checkpoint.guarded import GuardedSaver
from treadle.checkpoint.opening import open_serializer
from treadle.checkpoint.order import OrderedSaver, stay_above
from treadle.checkpoint.orphans import Orphans
from treadle.checkpoint.pool import ConnectionPool
from treadle.checkpoint.reaching import persisting
from treadle.checkpoint.serde import serializer_of
from treadle.checkpoint.tenancy import TenantSaver
from treadle.db.checkpoint_rows import Put
from treadle.db.orphans import note_orphans
from treadle.db.pool import Pool, postgres_errors
from treadle.db.runs import Progress, Runs
from treadle.db.scope import Scope
from treadle.db.threads import Threads
from treadle.errors import Fenced
from treadle.graphs.config import Config
from treadle.graphs.custom import open_custom
from treadle.model import Run
from treadle.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

Saver = BaseCheckpointSaver[Any]


def never() -> bool:
    """Nobody waits."""
    return False


class RunSaver(Protocol):
    """What an attempt asks of its checkpointer besides what langgraph does: see `FencedSaver`."""

    async def written(self) -> None: ...

    async def done_is_written(self) -> None: ...

    def take(self) -> list[Put]: ...


class Savers(Protocol):
    """Gives out checkpointers, each for one use."""

    @property
    def shared(self) -> Saver:
        """One for graphs that are only looked at."""
        ...

    async def of_thread(self, thread_id: UUID, *, locked: bool = False) -> Saver:
        """One for reading and changing a thread from outside a run.

        Args:
            locked: whoever uses it holds the thread's lock, and so a connection of the pool: it must not wait for another one.
        """
        ...

    def of_new_thread(self, thread_id: UUID) -> AbstractAsyncContextManager[Saver]:
        """One whose checkpoints are kept only if the block ends without an error."""
        ...

    async def copy(self, source: UUID, target: UUID) -> None:
        """Copy what is not copied with the rows of a thread."""
        ...

    async def of_run(self, run: Run, holds: Callable[[], bool] = never) -> TenantSaver:
        """One for an attempt of a run, which refuses its writes once a newer attempt has the run, and shows its tenant's
        checkpoints alone.

        Args:
            holds: whether the run waits where it is while Postgres is away.

        Raises:
            Unavailable: Postgres cannot be reached.
        """
        ...

    async def progress(self, run: Run) -> Progress:
        """What earlier attempts of a run have left to continue from.

        Raises:
            Unavailable: Postgres cannot be reached.
        """
        ...

    async def tend(self) -> None:
        """Do what is to be done in the background, until cancelled."""
        ...


class PostgresSavers:
    """Checkpoints in Postgres: whatever removes a run or a thread removes them in the same transaction.

    Args:
        observe: is told the seconds that each write of a run took.
        tracing: makes a span of each write of a run.
        serde: makes bytes of values and back.
    """

    def __init__(
        self,
        checkpoints: ConnectionPool,
        pool: Pool,
        observe: Callable[[float], None] = lambda seconds: None,
        tracing: Tracing | None = None,
        serde: SerializerProtocol | None = None,
    ) -> None:
        self._serde = serde
        self._checkpoints = checkpoints
        self._pool = pool
        self._runs = Runs(pool)
        self._observe = observe
        self._tracing = tracing
        self.shared: Saver = DirectSaver(checkpoints, pool, serde)

    async def of_thread(self, thread_id: UUID, *, locked: bool = False) -> Saver:
        return OrderedSaver(self._checkpoints, serde=self._serde) if locked else self.shared

    @asynccontextmanager
    async def of_new_thread(self, thread_id: UUID) -> AsyncGenerator[Saver]:
        async with self._checkpoints.connection() as connection, connection.transaction():
            saver = OrderedSaver(connection, serde=self._serde)
            # The thread's row is committed just after this: a process that dies in between leaves checkpoints behind.
            await saver.adelete_thread(str(thread_id))
            yield saver

    async def copy(self, source: UUID, target: UUID) -> None:
        return

    async def of_run(self, run: Run, holds: Callable[[], bool] = never) -> TenantSaver:
        saver = FencedSaver(
            self._checkpoints,
            self._pool,
            run.run_id,
            run.attempt,
            self._observe,
            self._tracing,
            holds,
            deferred=run.kwargs.get("durability", "async") == "async",
            serde=self._serde,
        )
        return TenantSaver(saver, run, _belonging(self._pool, run, holds))

    async def progress(self, run: Run) -> Progress:
        with postgres_errors("looking for what earlier attempts of a run have left"):
            return await self._runs.progress(run)

    async def tend(self) -> None:
        return


class CustomSavers:
    """Checkpoints in a checkpointer of the user's own."""

    def __init__(self, saver: Saver, pool: Pool, runs: Runs) -> None:
        self._runs = runs
        self._pool = pool
        self._orphans = Orphans(pool, saver)
        self.shared = saver

    async def of_thread(self, thread_id: UUID, *, locked: bool = False) -> Saver:
        await self._orphans.remove(thread_id)
        await self._newest(thread_id)
        return self.shared

    async def _newest(self, thread_id: UUID) -> CheckpointTuple | None:
        """The thread's newest checkpoint; whatever is written from now on is above it."""
        found = await self.shared.aget_tuple(
            {"configurable": {"thread_id": str(thread_id), "checkpoint_ns": ""}}
        )
        if found is not None:
            stay_above(found.checkpoint["id"])
        return found

    @asynccontextmanager
    async def of_new_thread(self, thread_id: UUID) -> AsyncGenerator[Saver]:
        try:
            yield await self.of_thread(thread_id)
        except BaseException:
            await self.shared.adelete_thread(str(thread_id))
            raise

    async def copy(self, source: UUID, target: UUID) -> None:
        await self._orphans.remove(source)
        await copy_thread(self.shared, str(source), str(target))

    async def of_run(self, run: Run, holds: Callable[[], bool] = never) -> TenantSaver:
        await self.of_thread(run.thread_id)

        async def is_newest() -> bool:
            with postgres_errors("checking who has a run"):
                return await self._runs.is_newest(run)

        async def check() -> None:
            if not await persisting(is_newest, holds):
                raise Fenced(
                    f"a checkpoint of run {run.run_id} was refused: attempt {run.attempt} is not its newest any more, or "
                    "the run has ended."
                )

        return TenantSaver(GuardedSaver(self.shared, check), run, _belonging(self._pool, run, holds))

    async def progress(self, run: Run) -> Progress:
        """Pending writes do not say whose they are; an attempt that left nothing else begins anew."""
        found = await self._newest(run.thread_id)
        own = found is not None and found.metadata.get("run_id") == str(run.run_id)
        return Progress(checkpointed=own, written=own)

    async def tend(self) -> None:
        await self._orphans.tend()


def _belonging(pool: Pool, run: Run, holds: Callable[[], bool]) -> Callable[[UUID], Awaitable[bool]]:
    """Whether a thread is there and of a run's tenant; waits where it is while Postgres is away, as the run does."""
    threads, scope = Threads(pool), Scope(run.tenant)

    async def look(thread_id: UUID) -> bool:
        with postgres_errors("looking whose a thread is"):
            return await threads.is_within(scope, thread_id)

    async def belongs(thread_id: UUID) -> bool:
        return await persisting(lambda: look(thread_id), holds)

    return belongs


@asynccontextmanager
async def open_savers(
    config: Config,
    pool: Pool,
    checkpoints: ConnectionPool,
    observe: Callable[[float], None] = lambda seconds: None,
    tracing: Tracing | None = None,
    aes_key: str = "",
) -> AsyncGenerator[Savers]:
    """The checkpointers that langgraph.json asks for. The arguments are those of PostgresSavers.

    Args:
        aes_key: LANGGRAPH_AES_KEY, which encrypts what is kept in Postgres.

    Raises:
        ConfigError: the checkpointer of the user's own, or the key, cannot be used.
        Unavailable: Postgres cannot be reached.
    """
    path = config.checkpointer.path
    with postgres_errors("saying where checkpoints are kept"):
        await note_orphans(pool, wanted=path is not None)
    if path is None:
        async with open_serializer(config, aes_key) as serde:
            yield PostgresSavers(checkpoints, pool, observe, tracing, serde)
        return
    if aes_key:
        log.warning(
            "%s: LANGGRAPH_AES_KEY is left to the checkpointer that `checkpointer.path` names", config.path
        )
    async with open_custom(
        config, "checkpointer.path", path, cast("type[Saver]", BaseCheckpointSaver)
    ) as saver:
        if saver.serde is BaseCheckpointSaver.serde:  # it was given none of its own
            saver.serde = serializer_of(config)
        yield CustomSavers(saver, pool, Runs(pool))
