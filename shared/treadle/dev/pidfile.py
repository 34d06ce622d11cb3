"""Remembers a process across the death of its parent, so that the next start can end what was left behind.

On Linux the kernel does that work and this finds nothing, except a server that is still shutting down:
then waiting for it is what the next start needs.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import psutil

# Linux counts from the boot, whose time it tells in whole seconds, now rounded up and now down.
_CLOCK_TOLERANCE_SECS = 2.0


class PidFile:
    """The pid of a process with the time of its start: a pid alone may have gone to someone else."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, pid: int) -> None:
        try:
            started = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            return
        self._path.write_text(f"{pid} {started}\n")

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    async def reap(self, signals: Sequence[signal.Signals], *, grace: float) -> None:
        """End the recorded process if it still runs; it gets `grace` seconds after each signal."""
        if (process := self._recorded()) is not None:
            await end(process, signals, grace=grace)
        self.remove()

    def _recorded(self) -> psutil.Process | None:
        try:
            pid, started = self._path.read_text().split()
            process = psutil.Process(int(pid))
            same = abs(process.create_time() - float(started)) < _CLOCK_TOLERANCE_SECS
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None
        return process if same else None


async def end(process: psutil.Process, signals: Sequence[signal.Signals], *, grace: float) -> None:
    """End a process that is not our child: the signals one after the other, SIGKILL at last."""
    for signum in (*signals, signal.SIGKILL):
        if await asyncio.to_thread(_ended_by, process, signum, grace):
            return


def _ended_by(process: psutil.Process, signum: signal.Signals, grace: float) -> bool:
    try:
        process.send_signal(signum)
        process.wait(grace)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True
