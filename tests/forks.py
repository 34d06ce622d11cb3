"""Schedulers at the price of a fork, for tests that kill one after the other: starting Python costs a second each.

Run as a program this imports the service once, and forks a scheduler for each line that it reads. All of them are
killed when it has read the last one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from treadle.service import serve
from treadle_scheduler.app import run


class Forks:
    """Makes scheduler processes, and kills them."""

    def __init__(self, parent: Process) -> None:
        self._parent = parent

    async def fork(self) -> int:
        """Begin another; returns its process id. It takes a moment to connect."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(b"\n")
        return int(await self._parent.stdout.readline())

    def kill(self, pid: int) -> None:
        """As the kernel would: no time for anything."""
        os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def forks(environment: Mapping[str, str]) -> AsyncGenerator[Forks]:
    """Schedulers in this environment; none is left afterwards."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.forks"),
        env={**os.environ, **environment},
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
    )
    try:
        yield Forks(parent)
    finally:
        assert parent.stdin is not None
        parent.stdin.close()
        await parent.wait()


def main() -> None:
    children: list[int] = []
    for _ in sys.stdin:
        if (pid := os.fork()) == 0:
            serve("scheduler", run, graphs=False)
            os._exit(0)
        children.append(pid)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
