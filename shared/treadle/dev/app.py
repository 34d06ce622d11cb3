"""`treadle dev` as a whole: servers, migrations and services, in the order that makes them ready soonest.

Everything is started at once. The services are loaded while the servers start, and are let go once the
database is migrated (`treadle.dev.launch`). The end is in order: the services, then the servers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

from treadle.backoff import Backoff
from treadle.dev.backends import backends
from treadle.dev.data_dir import refuse_unusable_data_dir
from treadle.dev.lock import DataDirLock
from treadle.dev.options import DevOptions
from treadle.dev.output import Output
from treadle.dev.port import refuse_taken_port
from treadle.dev.readiness import until_ok
from treadle.dev.servers import EmbeddedServer, start_together, stop_together
from treadle.dev.service import Service
from treadle.dev.services import migration, services
from treadle.dev.summary import summary
from treadle.dev.supervisor import Supervisor, describe_end
from treadle.errors import TreadleError

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# `timeout`, and runners that pass Ctrl-C on to a child that got it already, make two signals of one.
SAME_SIGNAL_SECS = 0.5


async def serve(options: DevOptions, output: Output) -> int:
    """Run until Ctrl-C, SIGTERM, or a failure that a restart cannot mend; returns the exit code.

    Raises:
        TreadleError: the data directory or the port is taken, or a setting cannot be used.
    """
    refuse_unusable_data_dir(options.data_dir)
    with DataDirLock(options.data_dir, address=options.address):
        refuse_taken_port(options.host, options.port)
        return await Dev(options, output).run()


class Dev:
    """One run of `treadle dev`, whose data directory and port are its own."""

    def __init__(self, options: DevOptions, output: Output) -> None:
        self._began = time.monotonic()
        self._asked = float("-inf")
        self._options = options
        self._output = output
        self._backends = backends(options.data_dir, os.environ)
        self._own = {
            backend.title: backend.server for backend in self._backends if backend.server is not None
        }
        self._servers = list(self._own.values())
        self._migration = migration(options, self._backends, os.environ)
        self._supervisor = Supervisor(
            services(options, self._backends, os.environ), output, patient=options.reload
        )

    async def run(self) -> int:
        """Start everything, keep it up, and stop it in order."""
        self._listen_for_signals()
        try:
            exit_code = await self._run_services()
        finally:
            await stop_together(self._servers)
        self._output.say("stopped")
        return exit_code

    async def _run_services(self) -> int:
        """Run the services until they have stopped, and beside them what brings and keeps the rest up."""
        async with asyncio.TaskGroup() as group:
            supervised = group.create_task(self._supervisor.run(), name="services")
            rest = [group.create_task(self._bring_up(), name="bring up")]
            if self._options.reload:
                rest.append(group.create_task(self._reload_on_change(), name="reload"))
            exit_code = await supervised
            for task in rest:
                task.cancel()
        return exit_code

    async def _bring_up(self) -> None:
        """Start the servers and the database, let the services go, and keep the servers up."""
        try:
            self._output.progress(f"starting {', '.join(self._own)}" if self._own else "starting")
            await self._migrated()
        except TreadleError as error:
            self._output.say(str(error))
            self._supervisor.stop(exit_code=1)
            return
        self._output.progress("the database is up to date; starting the services")
        self._supervisor.let_go()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._announce(), name="announce")
            for server in self._servers:
                group.create_task(keep_up(server, self._output), name=f"keep {server.name}")

    async def _announce(self) -> None:
        await until_ok(self._options.host, self._options.port)
        elapsed = time.monotonic() - self._began
        self._output.ready(f"Treadle is ready after {elapsed:.1f} s", summary(self._options, self._backends))

    async def _migrated(self) -> None:
        """Start the servers, and migrate as soon as they answer, in a process loaded meanwhile."""
        migrate = Service(self._migration, self._output)
        failure: TreadleError | None = None
        async with asyncio.TaskGroup() as group:
            migrating = group.create_task(migrate.run(), name="migrate")
            try:
                await start_together(self._servers)
                migrate.let_go()
            except TreadleError as error:
                failure = error
                migrate.terminate()
        if failure is not None:
            raise failure
        if (code := migrating.result()) != 0:
            raise TreadleError(
                f"The migration of the database {describe_end(code)}; its reason stands above."
            )

    async def _reload_on_change(self) -> None:
        from treadle.dev.reload import changes  # noqa: PLC0415 - costs time that only --reload should spend

        async for changed in changes(self._options.project, self._options.data_dir):
            names = ", ".join(path.name for path in changed[:3]) + ("..." if len(changed) > 3 else "")
            self._output.say(f"{names} changed: starting API and workers again")
            self._supervisor.reload()

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in _STOP_SIGNALS:
            loop.add_signal_handler(signum, self._asked_to_stop)

    def _asked_to_stop(self) -> None:
        since, self._asked = time.monotonic() - self._asked, time.monotonic()
        if since < SAME_SIGNAL_SECS:
            return
        if self._supervisor.stopping:
            self._output.say("not waiting any longer")
            self._supervisor.kill()
        else:
            self._output.progress("stopping (Ctrl-C once more: without waiting for what runs)")
            self._supervisor.stop()


async def keep_up(server: EmbeddedServer, output: Output) -> None:
    """Start a server again, at the same address, whenever it dies."""
    backoff = Backoff()
    while True:
        began = time.monotonic()
        code = await server.wait()
        delay = backoff.after(time.monotonic() - began)
        output.say(f"{server.name} {describe_end(code)}; starting it again in {delay:g} s")
        await asyncio.sleep(delay)
        try:
            await server.start()
        except (TreadleError, OSError) as error:
            output.say(f"{server.name} did not start: {error}")
