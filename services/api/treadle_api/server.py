"""Serves the API over HTTP until the process is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager

import uvicorn
from litestar.types import ASGIApp

from treadle.patience import unless
from treadle.service import Given
from treadle.settings import Settings
from treadle.telemetry.metrics import Metrics
from treadle_api.access.opening import check_exposure
from treadle_api.app import make_app
from treadle_api.listening import listen
from treadle_api.parts import Links, build, link
from treadle_api.shell.around import around
from treadle_api.shell.custom import started
from treadle_api.shell.door import Door
from treadle_api.stalling import bound_unsent, watched

log = logging.getLogger(__name__)

# Streams last as long as their runs. A stopping server breaks them off; clients come back with Last-Event-ID.
SHUTDOWN_SECS = 2
# Longer than clients and load balancers keep a connection that rests (httpx 5 s, most others 60 s): where the server ends it
# in the moment in which a client uses it again, the client's request is lost.
KEEP_ALIVE_SECS = 75


class _Server(uvicorn.Server):
    """uvicorn, stopped by signals without raising them again, so that what comes after it is done too."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers be finished for SHUTDOWN_SECS; what is still open then is broken off, which is no error."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


async def run(given: Given) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigError: the address cannot be listened on, or must not be; or the user's app cannot start.
    """
    settings, http = given.settings, given.config.http
    check_exposure(given.config, settings)
    prefix = (settings.mount_prefix or http.mount_prefix).rstrip("/")
    listener = listen(settings.treadle_host, settings.treadle_port, shared=settings.treadle_api_processes > 1)
    bound_unsent(listener, settings.treadle_stream_stall_secs)
    async with link(given) as links:
        door = Door(links.dependencies, prefix, http.cors, silent=http.disable_meta)
        server = _Server(_config(door, settings, links.metrics))
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
        try:
            async with AsyncExitStack() as stack:
                app = await unless(serving, _built(stack, given, links, prefix))
                if app is not None:
                    door.open(app)
                    log.info("listening on http://%s:%s", settings.treadle_host, listener.getsockname()[1])
                    await asyncio.wait({serving})
        finally:
            server.should_exit = True
            # Not by awaiting it: this may be cancelled itself, by a part that has failed, whose error is to be seen.
            await asyncio.wait({serving})
        serving.result()
    log.info("api stopped")


async def _built(stack: AsyncExitStack, given: Given, links: Links, prefix: str) -> ASGIApp:
    """The whole API, as soon as Postgres is there."""
    http = given.config.http
    mine = None if http.app is None else await stack.enter_async_context(started(given.config, http.app))
    parts = await stack.enter_async_context(build(given, links))
    if given.settings.treadle_nats_api == "on":
        await stack.enter_async_context(parts.front.serving())
    app = make_app(parts, http, mine=mine and mine.app, prefix=prefix)
    return around(app, http, mine, prefix, parts.proof, parts.limits)


def _config(door: Door, settings: Settings, metrics: Metrics) -> uvicorn.Config:
    http, ws = watched(settings.treadle_stream_stall_secs, metrics.streams_cut.inc)
    return uvicorn.Config(
        door,
        http=http,
        ws=ws,
        ws_max_size=settings.treadle_http_max_body_bytes,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=[("x-content-type-options", "nosniff")],  # of all answers, at no cost
        timeout_keep_alive=KEEP_ALIVE_SECS,
        timeout_graceful_shutdown=SHUTDOWN_SECS,
    )
