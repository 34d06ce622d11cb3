"""One NATS connection of a service, kept up for as long as the service lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import nats.errors

from treadle.address import without_password
from treadle.messaging.access import NatsAccess
from treadle.messaging.closing import Closing
from treadle.owned_task import OwnedTask
from treadle.patience import OK, Reminder, Tell, nobody

log = logging.getLogger(__name__)

RECONNECT_WAIT_SECS = 1
CONNECT_TIMEOUT_SECS = 2
FLUSH_TIMEOUT_SECS = 2
# A connection that says nothing is given up after so many pings, 10 to 15 seconds. One alone would be too few: a node that
# blocks the loop for as long lets the client see its pings' time before it sees their answers.
PING_SECS = 5
PINGS_UNANSWERED = 2
_AT_FIRST = "not connected"
_ENDS = (BrokenPipeError, ConnectionResetError)
# NATS is away, or does not answer in time.
NATS_ERRORS = (OSError, TimeoutError, nats.errors.Error)


def no_jetstream(error: Exception) -> str:
    """What is to be said when NATS is there and its JetStream does not answer."""
    return (
        f"its JetStream does not answer ({type(error).__name__}). Start nats-server with `-js`, or wait for its cluster to "
        "elect a leader."
    )


class Nats:
    """A connection that is retried from the start and for ever: NATS may come up after the service.

    Args:
        access: where it is and what opens it, or an address that says all.
        on_connect: awaited after the first connection and after every reconnection.
        tell: is told what is wrong, and OK when all is well.

    Raises:
        ConfigError: a file that the access names cannot be used.
    """

    def __init__(
        self,
        access: NatsAccess | str,
        *,
        name: str,
        on_connect: Callable[[], Awaitable[None]] | None = None,
        tell: Tell = nobody,
    ) -> None:
        self._access = NatsAccess(access) if isinstance(access, str) else access
        self._name = name
        self._on_connect = on_connect
        self._tell = tell
        self._opened = asyncio.Event()
        self._problem = _AT_FIRST
        self._reminder = Reminder(f"NATS at {without_password(self._access.url)}")
        self.client = self._access.client()
        self._closing = Closing(self.client)

    @property
    def connected(self) -> bool:
        return self.client.is_connected

    @property
    def state(self) -> str:
        """`ok`, or what is wrong."""
        return OK if self.connected else self._problem

    async def jetstream_state(self) -> str:
        """`ok`, or what is wrong with NATS or its JetStream."""
        if not self.connected:
            return self._problem
        try:
            await self.client.jetstream().account_info()
        except NATS_ERRORS as error:
            return no_jetstream(error)
        return OK

    async def opened(self) -> None:
        """Wait until NATS has been there once: from then on subscriptions can be made, and last."""
        await self._opened.wait()

    @asynccontextmanager
    async def kept_up(self) -> AsyncGenerator[None]:
        """Connect meanwhile, however long it takes, and close at the end."""
        connecting = OwnedTask("connect-nats", self.connect)
        connecting.start()
        try:
            yield
        finally:
            await self.close()
            await connecting.stop()

    async def connect(self) -> None:
        """Connect, however long it takes; says what it waits for."""
        while True:
            try:
                await self._open()
                return
            except NATS_ERRORS as error:
                self._say(error)
                await asyncio.sleep(RECONNECT_WAIT_SECS)

    async def _open(self) -> None:
        async def connected() -> None:
            await self._closing.connected()
            if not self.connected:
                return
            if self.client.stats["reconnects"]:
                log.info("connection to NATS is back")
            if self._on_connect is not None:
                await self._on_connect()
            if self.connected:
                self._tell(OK)

        async def disconnected() -> None:
            if not self._closing.begun:
                log.warning("connection to NATS lost, reconnecting")
                self._tell("the connection was lost")

        async def failed(error: Exception) -> None:
            self._closing.failed()
            self._say(error)

        await self.client.connect(
            **self._access.options(),
            name=self._name,
            connect_timeout=CONNECT_TIMEOUT_SECS,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_SECS,
            ping_interval=PING_SECS,
            max_outstanding_pings=PINGS_UNANSWERED,
            reconnected_cb=connected,
            disconnected_cb=disconnected,
            error_cb=failed,
            # While NATS is away a publish fails at once instead of waiting in memory: the row is the truth.
            pending_size=0,
        )
        self._opened.set()
        self._reminder.over()
        await connected()

    def _say(self, error: Exception) -> None:
        """Tell what is waited for; the client itself tries again every second."""
        if self._problem != _AT_FIRST and isinstance(error, _ENDS):
            return  # that is how a connection ends which NATS has refused; why is known
        self._problem = str(error) or type(error).__name__
        if not self.connected:
            self._tell(self._problem)
        if not self._opened.is_set():
            self._reminder.waiting(f"{self._problem}. Start it, or correct NATS_URL and TREADLE_NATS_*.")

    async def close(self) -> None:
        """Flush what was published and close."""
        self._closing.begin()
        if not self._opened.is_set():
            return
        try:
            if self.client.is_connected:
                await self.client.flush(FLUSH_TIMEOUT_SECS)
        except NATS_ERRORS as error:
            log.warning("NATS went away before the last messages were flushed: %s", error)
        await self._closing.close()
