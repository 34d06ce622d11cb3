"""A service as a process: run it once, pass on what it says, stop it."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass, field

from treadle.dev import process
from treadle.dev.launch import LIFELINE
from treadle.dev.output import Output

# A worker breaks a step off after 5 s and hands its run back; with the servers all is over in under 10 s.
STOP_GRACE_SECS = 7.0
# How long output may still come after the process ended: something it started may hold the pipe.
_LAST_WORDS_SECS = 1.0


@dataclass(frozen=True)
class ServiceSpec:
    """What to run, and how the supervisor treats it.

    Attributes:
        env: the whole environment of the process.
        stage: services of a lower stage are stopped first.
        reloads: whether it runs the user's code, and so starts again when that changes.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    stage: int = 0
    reloads: bool = False


class Service:
    """Runs the process of a spec, once or again and again, one at a time."""

    def __init__(self, spec: ServiceSpec, output: Output) -> None:
        self.spec = spec
        self._output = output
        self._process: Process | None = None
        self._lifeline: int | None = None
        self._may_go = False
        self._unwanted = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def run(self) -> int:
        """Run the process until it ends; returns its exit code, negative for a signal.

        However this ends, the process and what it started are gone then.
        """
        self._unwanted = False
        read_end, self._lifeline = os.pipe()
        try:
            self._process = await self._spawn(read_end)
            return await self._follow(self._process)
        except BaseException:
            await self._abandon()
            raise
        finally:
            self._process = None
            os.close(self._lifeline)
            self._lifeline = None

    def let_go(self) -> None:
        """Tell a process that waits in `launch` to go to work, this one and all that follow."""
        self._may_go = True
        if self._process is not None and self._lifeline is not None:
            self._pass_word(self._lifeline)

    def terminate(self) -> None:
        """Ask the process to end, be it running or just being started."""
        self._unwanted = True
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self._process is not None:
            process.kill_session(self._process.pid)

    async def _spawn(self, read_end: int) -> Process:
        try:
            started = await process.spawn(
                self.spec.argv,
                stdout=PIPE,
                death_signal=signal.SIGKILL,
                env={**self.spec.env, LIFELINE: str(read_end)},
                pass_fds=(read_end,),
            )
        finally:
            os.close(read_end)
        return started

    async def _abandon(self) -> None:
        if self._process is not None:
            process.kill_session(self._process.pid)
            await self._process.wait()

    async def _follow(self, running: Process) -> int:
        if self._unwanted:
            self.terminate()
        if self._may_go and self._lifeline is not None:
            self._pass_word(self._lifeline)
        assert running.stdout is not None  # noqa: S101 - spawned with a pipe
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(self._output.pump(self.spec.name, running.stdout))
            code = await running.wait()
            process.kill_session(running.pid)
            await asyncio.wait([pump], timeout=_LAST_WORDS_SECS)
            pump.cancel()
        return code

    @staticmethod
    def _pass_word(lifeline: int) -> None:
        try:
            os.write(lifeline, b"1")
        except BrokenPipeError:
            return  # it has ended already; whoever waits for it learns so
