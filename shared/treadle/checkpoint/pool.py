"""The psycopg pool that langgraph's savers and stores need, set up as they expect it."""

from __future__ import annotations

import select
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from treadle.db.dsn import parse
from treadle.db.pool import CONNECT_TIMEOUT_SECS, PoolWait
from treadle.errors import Overloaded, Unavailable

ConnectionPool = AsyncConnectionPool[Any]


class _BoundedPool(AsyncConnectionPool[Any]):
    """A pool that gives no connection that has ended as it rested, and says what is wrong when a wait for one was in vain."""

    bound: PoolWait | None = None
    # The pool's own figures do not tell connections in use from those that it tries to make.
    in_use = 0

    async def getconn(self, timeout: float | None = None) -> AsyncConnection[Any]:
        until = time.monotonic() + (self.timeout if timeout is None else timeout)
        try:
            while _has_ended(connection := await super().getconn(until - time.monotonic())):
                await connection.close()
                await super().putconn(connection)
        except PoolTimeout as error:
            raise self._in_vain() from error
        self.in_use += 1
        return connection

    async def putconn(self, conn: AsyncConnection[Any]) -> None:
        self.in_use -= 1
        await super().putconn(conn)

    def _in_vain(self) -> Unavailable:
        if self.in_use < self.max_size:
            return Unavailable(
                f"Postgres could not be reached for checkpoints and the store: no connection came about in {self.timeout:g} s. "
                "Check DATABASE_URI and that the server is up; what was committed is safe."
            )
        if self.bound is not None:
            self.bound.refused()
        return Overloaded(
            f"No connection to Postgres for checkpoints and the store became free in {self.timeout:g} s: all "
            f"{self.max_size} (TREADLE_DB_POOL_SIZE) are in use. Ask again in a moment. "
            "If it lasts, look for what Postgres waits for, or start more processes."
        )


def _has_ended(connection: AsyncConnection[Any]) -> bool:
    """Whether the server has something to say on a connection that rests: its farewell, as a rule. Costs no round trip."""
    ready = select.poll()
    ready.register(connection.fileno(), select.POLLIN)
    return bool(ready.poll(0))


@asynccontextmanager
async def checkpoint_pool(
    dsn: str, *, size: int, service: str, wait: PoolWait | None = None
) -> AsyncGenerator[ConnectionPool]:
    """Connections in autocommit mode, each statement its own transaction. There is none before the first use.

    Args:
        wait: after which its users get Overloaded, or Unavailable if connections are not made; None: as long as
            connecting may take.
    """
    address, prepared = parse(dsn)
    pool = _BoundedPool(
        address,
        min_size=0,  # few processes use it: what runs write and read of checkpoints goes over the other pool
        max_size=size,
        open=False,
        timeout=CONNECT_TIMEOUT_SECS if wait is None else wait.secs,
        kwargs={
            "autocommit": True,
            "prepare_threshold": 0 if prepared else None,
            "row_factory": dict_row,
            "application_name": f"treadle-{service}-checkpoints",
        },
    )
    pool.bound = wait
    async with pool:
        yield pool
