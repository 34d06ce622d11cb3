"""Several API processes on one port: the kernel deals the connections out among them (SO_REUSEPORT).

Each is a whole API with connections of its own; nothing is shared but the port. This process only keeps them: it starts
again what has died, and ends with the last of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import Process

from treadle import settings as treadle_settings
from treadle.backoff import Backoff
from treadle.errors import ConfigError
from treadle.parent import dies_with_parent
from treadle.telemetry.logs import setup_logging
from treadle_api.listening import listen

log = logging.getLogger(__name__)


class Processes:
    """So many API processes, until SIGTERM or SIGINT, or until one cannot run as it is configured."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._running: set[Process] = set()
        self._stopping = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """Returns the exit code for the whole."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        async with asyncio.TaskGroup() as tasks:
            for number in range(1, self._count + 1):
                tasks.create_task(self._keep(number), name=f"api-{number}")
        return self._code

    def _stop(self, code: int = 0) -> None:
        if not self._stopping.is_set():
            self._code = code
            self._stopping.set()
            for process in self._running:
                process.send_signal(signal.SIGTERM)

    async def _keep(self, number: int) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            if code == os.EX_CONFIG:
                self._stop(code)
                return
            pause = backoff.after(time.monotonic() - began)
            log.error(
                "API process %s of %s ended with %s; starting it again in %g s",
                number,
                self._count,
                code,
                pause,
            )
            await self._rest(pause)

    async def _run_once(self) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "treadle_api"),
            # What a terminal sends to all of its processes comes from here instead, once.
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGKILL),
        )
        self._running.add(process)
        if self._stopping.is_set():
            process.send_signal(signal.SIGTERM)
        try:
            return await process.wait()
        finally:
            self._running.discard(process)

    async def _rest(self, secs: float) -> None:
        try:
            async with asyncio.timeout(secs):
                await self._stopping.wait()
        except TimeoutError:
            return


def main() -> None:
    """Run TREADLE_API_PROCESSES of them; exits as the API itself would."""
    try:
        settings = treadle_settings.load()
        # They would share it with whatever else shares its port.
        listen(settings.treadle_host, settings.treadle_port).close()
    except ConfigError as error:
        sys.stderr.write(f"treadle: {error}\n")
        sys.exit(os.EX_CONFIG)
    setup_logging("api", settings.log_level, settings.log_format)
    sys.exit(asyncio.run(Processes(settings.treadle_api_processes).run()))


if __name__ == "__main__":
    main()
