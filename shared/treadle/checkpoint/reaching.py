"""Langgraph's saver on a Postgres that may be away: what that means is told apart from errors of graphs, and nothing waits for ever.

psycopg has no bound on how long a statement may take, and cannot even be cancelled on a connection that has fallen silent,
since it waits for the answer to the cancel there. So the socket is shut down: the statement fails at once, and the
pool makes another connection.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow

from treadle.checkpoint.encryption import sealed, unsealed
from treadle.db.pool import COMMAND_TIMEOUT_SECS
from treadle.db.sqlstates import is_away
from treadle.errors import Unavailable
from treadle.patience import being_cancelled

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE_SECS = 0.05
LONGEST_PAUSE_SECS = 1.0


class ReachingSaver(AsyncPostgresSaver):
    """The stock saver. Any of its methods raises Unavailable when Postgres is away, or can do no such work now."""

    doing = "checkpoints were read or written"
    """What Unavailable says was being done."""
    answer_secs = COMMAND_TIMEOUT_SECS
    """How long a use of a connection may take."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        checkpoint, new_versions = sealed(self.serde, checkpoint, new_versions)
        return await super().aput(config, checkpoint, metadata, new_versions)

    def _dump_blobs(
        self, thread_id: str, checkpoint_ns: str, values: dict[str, Any], versions: ChannelVersions
    ) -> list[tuple[str, str, str, str, str, bytes | None]]:
        return super()._dump_blobs(thread_id, checkpoint_ns, unsealed(values), versions)

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncGenerator[AsyncCursor[DictRow]]:
        with psycopg_errors(self.doing):
            async with super()._cursor(pipeline=pipeline) as cursor:
                with answering(cursor.connection, self.answer_secs):
                    yield cursor


@contextmanager
def psycopg_errors(doing: str) -> Generator[None]:
    """Raise Unavailable, saying what was being done, when Postgres cannot be reached or can do no such work now.

    A statement that fails in a task that is being cancelled is a cancel: psycopg waits by `asyncio.wait_for`, which forgets one
    that comes in the wrong moment (up to Python 3.11), and whoever tries again would never stop.
    """
    try:
        yield
    except psycopg.Error as error:
        if being_cancelled():
            raise asyncio.CancelledError from error
        if not _is_away(error):
            raise
        raise Unavailable(
            f"Postgres could not be reached while {doing}, or can do no such work now: {error}. "
            "Check that the server is up, takes writes and has room."
        ) from error


def _is_away(error: psycopg.Error) -> bool:
    """Psycopg's own errors of use have no SQLSTATE, as those of lost connections and of pools that wait in vain."""
    return is_away(error.sqlstate) if error.sqlstate else isinstance(error, psycopg.OperationalError)


@contextmanager
def answering(connection: AsyncConnection[Any], secs: float) -> Generator[None]:
    """Break the connection if the block takes longer, so that whatever waits for an answer on it fails."""
    timer = asyncio.get_running_loop().call_later(secs, _break, connection)
    try:
        yield
    finally:
        timer.cancel()


def _break(connection: AsyncConnection[Any]) -> None:
    if not connection.closed:
        with socket.socket(fileno=os.dup(connection.fileno())) as shared:
            shared.shutdown(socket.SHUT_RDWR)


async def persisting(do: Callable[[], Awaitable[T]], holds: Callable[[], bool]) -> T:
    """Do something until it is done, while Postgres is away and `holds` says that it is worth waiting.

    Raises:
        Unavailable: it is not, or no more.
    """
    pause = 0.0
    while True:
        try:
            return await do()
        except Unavailable as error:
            if not holds():
                raise
            if not pause:
                log.warning("waiting: %s", error)
        pause = min(pause * 2 or FIRST_PAUSE_SECS, LONGEST_PAUSE_SECS)
        await asyncio.sleep(pause)
