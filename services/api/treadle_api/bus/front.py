"""The service `treadle`, from the first connection to NATS to the last answer."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from nats.micro.service import ServiceConfig

from treadle.messaging.connection import NATS_ERRORS, Nats
from treadle.messaging.subjects import SERVICE_PREFIX
from treadle_api.bus.answering import Answering
from treadle_api.bus.endpoints import endpoints
from treadle_api.bus.holding import Holding
from treadle_api.bus.micro import Service
from treadle_api.bus.runs import DirectRuns

log = logging.getLogger(__name__)

NAME = "treadle"
DRAIN_SECS = 2.0
VERSION = re.compile(r"^(\d+(?:\.\d+)*)(.*)$")
# How long requests in work may go on when the process is told to stop, as with HTTP.
GRACE_SECS = 2.0


class Front:
    """The service `treadle`. NATS may come late, go and come back; HTTP does not mind."""

    def __init__(self, nats: Nats, answering: Answering, runs: DirectRuns, holding: Holding) -> None:
        self._nats = nats
        self._holding = holding
        self._in_work: set[asyncio.Task[None]] = set()
        config = ServiceConfig(
            name=NAME,
            version=semantic(version("treadle")),
            description="Runs of LangGraph graphs: create, get, cancel, and wait for results.",
        )
        self._service = Service(nats.client, config, endpoints(runs, answering))

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Answer requests while the block lasts; then take no more, and answer those in work."""
        async with asyncio.TaskGroup() as tasks:
            opening = tasks.create_task(self._open(tasks), name="nats-service")
            yield
            opening.cancel()
            await self._close()

    async def _open(self, tasks: asyncio.TaskGroup) -> None:
        def begin(serving: Coroutine[Any, Any, None]) -> None:
            task = tasks.create_task(serving, name="direct-request")
            self._in_work.add(task)
            task.add_done_callback(self._in_work.discard)

        await self._nats.opened()
        await self._service.start(begin)
        try:
            await self._nats.client.flush()
        except NATS_ERRORS as error:
            log.info("NATS went away again, and will find its subscriptions when it is back: %r", error)
        log.info("answering requests on %s.> over NATS", SERVICE_PREFIX)

    async def _close(self) -> None:
        """Take no more; let what is in work go on for the grace; then tell those who wait to ask elsewhere."""
        if self._nats.connected:
            try:
                async with asyncio.timeout(DRAIN_SECS):
                    await self._service.drain()
            except NATS_ERRORS as error:
                log.warning("NATS went away before the last requests had come: %r", error)
        await self._settle()
        self._holding.close()
        await self._settle()
        for task in self._in_work:
            task.cancel()

    async def _settle(self) -> None:
        if self._in_work:
            await asyncio.wait(set(self._in_work), timeout=GRACE_SECS)


def semantic(python_version: str) -> str:
    """A version of a Python package as semantic versioning writes it: 0.2.0rc1 is 0.2.0-rc1."""
    release, rest = VERSION.sub(r"\1 \2", python_version).split(" ", maxsplit=1)
    numbers = [*release.split("."), "0", "0"][:3]
    more = re.sub(r"[^0-9A-Za-z]+", ".", rest.partition("+")[0]).strip(".")
    return ".".join(numbers) + (f"-{more}" if more else "")
