"""One `treadle dev` in a process of its own, timed from the command to the last process gone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import STDOUT, Process
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from treadle.dev.readiness import until_ok
from treadle.errors import TreadleError

# Of an installation that has what users install, and none of the benchmark's own tools: the libraries of services load some of
# them where they find them.
SERVED_PYTHON = os.environ.get("SERVED_PYTHON") or sys.executable
HOST = "127.0.0.1"
CONFIG = Path(__file__).with_name("langgraph.json")
# Far beyond the goals: how long is what we want to know, so waiting ends late.
READY_SECS = 90.0
STOP_SECS = 60.0
LAST_LINES = 30
# Servers of the user's own would be filled with runs, and their starts are not Treadle's.
REPLACES_A_SERVER = {"DATABASE_URI", "NATS_URL", "REDIS_URI"}


class DevFailed(TreadleError):
    """`treadle dev` did not start, did not stop, or ended by itself; the message ends with its last lines."""


@dataclass(frozen=True)
class Size:
    """How much `treadle dev` may do at once."""

    workers: int
    jobs_per_worker: int


class TreadleDev:
    """The running command, as a context manager; leaving the context stops what still runs.

    Attributes:
        ready_secs: from the start of the command to the first /ok, the interpreter's start included.
    """

    def __init__(self, data_dir: Path, log: Path, size: Size) -> None:
        self._data_dir = data_dir
        self._log = log
        self._size = size
        self._port = free_port()
        self._process: Process | None = None
        self.ready_secs = float("inf")

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    @property
    def process(self) -> psutil.Process:
        """The command, above all that it has started."""
        if self._process is None:
            raise DevFailed("`treadle dev` was not started.")
        return psutil.Process(self._process.pid)

    async def __aenter__(self) -> Self:
        began = time.monotonic()
        process = self._process = await self._spawn()
        try:
            await self._until_ready(process)
        except BaseException:
            await _kill(process)
            raise
        self.ready_secs = time.monotonic() - began
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        # A terminal has sent its Ctrl-C to the command too, which may be gone by now.
        with suppress(DevFailed) if kind is asyncio.CancelledError else nullcontext():
            await self.stop()

    async def stop(self) -> float:
        """Press Ctrl-C; returns the seconds until the command and all that it had started were gone.

        Raises:
            DevFailed: it had ended before, failed, or something of it runs on.
        """
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            raise self._failure("ended before it was asked to")
        family = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        await self._until_ended(process)
        _, alive = await asyncio.to_thread(psutil.wait_procs, family, STOP_SECS)
        if alive:
            raise self._failure(f"left {len(alive)} processes running: {', '.join(map(str, alive))}")
        return time.monotonic() - began

    async def _spawn(self) -> Process:
        # In the process group of the benchmark: what a terminal sends to one reaches both.
        with self._log.open("wb") as log:
            return await asyncio.create_subprocess_exec(
                *(SERVED_PYTHON, "-m", "treadle.cli", "dev"),
                *("--config", str(CONFIG), "--data-dir", str(self._data_dir)),
                *("--host", HOST, "--port", str(self._port)),
                *("--workers", str(self._size.workers), "--jobs-per-worker", str(self._size.jobs_per_worker)),
                env=self._environment(),
                stdout=log,
                stderr=STDOUT,
            )

    def _environment(self) -> dict[str, str]:
        """Sockets lie in the temporary directory: here in one that goes with the data."""
        kept = {name: value for name, value in os.environ.items() if name not in REPLACES_A_SERVER}
        return {**kept, "TMPDIR": str(self._data_dir.parent)}

    async def _until_ready(self, process: Process) -> None:
        ready = asyncio.create_task(until_ok(HOST, self._port), name="ready")
        ended = asyncio.create_task(process.wait(), name="ended")
        try:
            await asyncio.wait({ready, ended}, timeout=READY_SECS, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise self._failure(f"ended with exit code {ended.result()} instead of starting")
            if not ready.done():
                raise self._failure(f"was not ready within {READY_SECS:g} s")
        finally:
            ready.cancel()
            ended.cancel()
            await asyncio.wait({ready, ended})

    async def _until_ended(self, process: Process) -> None:
        try:
            async with asyncio.timeout(STOP_SECS):
                code = await process.wait()
        except TimeoutError:
            await _kill(process)
            raise self._failure(f"did not stop within {STOP_SECS:g} s of Ctrl-C") from None
        if code != 0:
            raise self._failure(f"was stopped by Ctrl-C with exit code {code}")

    def _failure(self, what: str) -> DevFailed:
        said = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return DevFailed("\n".join([f"`treadle dev` {what}. Its last lines:", *said]))


async def _kill(process: Process) -> None:
    """What the command had started ends itself when the command is gone."""
    if process.returncode is None:
        process.kill()
        await process.wait()


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]
