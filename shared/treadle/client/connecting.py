"""A client with a connection of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from nats.aio.client import Client as Nats

from treadle.client.client import Client
from treadle.errors import Unavailable
from treadle.messaging.access import NatsAccess
from treadle.messaging.closing import Closing
from treadle.messaging.connection import NATS_ERRORS, PING_SECS, PINGS_UNANSWERED

log = logging.getLogger(__name__)

CONNECT_SECS = 10.0


@asynccontextmanager
async def connect(
    url: NatsAccess | str,
    *,
    name: str = "treadle-client",
    key: str | None = None,
    timeout_secs: float = CONNECT_SECS,
) -> AsyncGenerator[Client]:
    """A client with a connection of its own, which comes back whenever NATS does.

    Args:
        url: one or several addresses of NATS, separated by commas; with keys or certificates beside them, a NatsAccess.
        name: what NATS shows as the name of the connection.
        key: TREADLE_IDENTITY_SECRET, for `acting_for`.
        timeout_secs: how long NATS is waited for at first.

    Raises:
        ConfigError: a file that the access names cannot be used.
        Unavailable: NATS cannot be reached at first, or lets nobody in who comes like this.
    """
    access = NatsAccess(url) if isinstance(url, str) else url
    connection = access.client()
    closing = Closing(connection)
    await _open(connection, closing, access, name, timeout_secs)
    try:
        yield Client(connection, key=key)
    finally:
        await closing.close()


async def _open(
    connection: Nats, closing: Closing, access: NatsAccess, name: str, timeout_secs: float
) -> None:
    problem = "no answer"

    async def failed(error: Exception) -> None:
        nonlocal problem
        closing.failed()
        problem = str(error) or type(error).__name__
        log.warning("NATS: %s", problem)

    try:
        async with asyncio.timeout(timeout_secs):
            await connection.connect(
                **access.options(),
                name=name,
                max_reconnect_attempts=-1,
                ping_interval=PING_SECS,
                max_outstanding_pings=PINGS_UNANSWERED,
                error_cb=failed,
                reconnected_cb=closing.connected,
            )
    except NATS_ERRORS as error:
        await closing.close()
        raise Unavailable(f"NATS cannot be reached, or does not let us in: {problem}") from error
