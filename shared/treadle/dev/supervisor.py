"""Keeps the services running, restarts the ones that die, and stops all of them in order.

The life of one service:

    run ──ended──► stopping?            end
                   asked to restart?    run again at once
                   exit code 78?        its first life: stop everything; later, when patient: wait for a change
                   otherwise            wait (backoff), run again
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from itertools import groupby

from treadle.backoff import Backoff
from treadle.dev.output import Output
from treadle.dev.service import STOP_GRACE_SECS, Service, ServiceSpec

# How long one stage may delay the next one's SIGTERM; all share one grace period.
_STAGE_SECS = 0.5


class _Kept:
    """A service with what the supervisor remembers of it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.backoff = Backoff()
        self.first_life = True
        self.restart_asked = False
        self.wake = asyncio.Event()

    @property
    def name(self) -> str:
        return self.service.spec.name


class Supervisor:
    """Runs services until it is asked to stop, or one cannot be configured.

    Args:
        patient: when changed code cannot run, wait for the next `reload` instead of trying again.
    """

    def __init__(self, specs: Sequence[ServiceSpec], output: Output, *, patient: bool = False) -> None:
        ordered = sorted(specs, key=lambda spec: spec.stage)
        self._kept = [_Kept(Service(spec, output)) for spec in ordered]
        self._output = output
        self._patient = patient
        self._stopping = asyncio.Event()
        self._exit_code = 0

    async def run(self) -> int:
        """Run until stopped; returns the exit code for the whole: 0, or that of what cannot be configured."""
        async with asyncio.TaskGroup() as group:
            tasks = {
                kept.name: group.create_task(self._keep(kept), name=f"keep {kept.name}")
                for kept in self._kept
            }
            await self._stopping.wait()
            await self._stop_in_order(tasks)
        return self._exit_code

    def let_go(self) -> None:
        """The servers are ready: services that were only loaded so far go to work."""
        for kept in self._kept:
            kept.service.let_go()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self, exit_code: int = 0) -> None:
        """Begin to stop, in order; `run` returns when that is done."""
        if not self.stopping:
            self._exit_code = exit_code
            self._stopping.set()

    def kill(self) -> None:
        """Kill what still runs, without order and grace."""
        for kept in self._kept:
            kept.service.kill()

    def reload(self) -> None:
        """Start the services that run the user's code again, at once, whatever they are doing."""
        for kept in self._kept:
            if kept.service.spec.reloads:
                kept.restart_asked = True
                kept.wake.set()
                kept.service.terminate()

    def pid(self, name: str) -> int | None:
        """The process of a service, if one runs now."""
        return next(kept.service.pid for kept in self._kept if kept.name == name)

    async def _keep(self, kept: _Kept) -> None:
        while not self._stopping.is_set():
            kept.restart_asked = False
            kept.wake.clear()
            began = time.monotonic()
            code = await self._run_once(kept)
            if not self._stopping.is_set():
                await self._after(kept, code, alive=time.monotonic() - began)

    async def _run_once(self, kept: _Kept) -> int:
        """Run the process; one that was asked to restart and does not end in time is killed."""
        async with asyncio.TaskGroup() as group:
            impatience = group.create_task(self._insist_on_restart(kept))
            code = await kept.service.run()
            impatience.cancel()
        return code

    async def _insist_on_restart(self, kept: _Kept) -> None:
        await kept.wake.wait()
        await asyncio.sleep(STOP_GRACE_SECS)
        kept.service.kill()

    async def _after(self, kept: _Kept, code: int, *, alive: float) -> None:
        """Decide what the end of a process means, and wait as long as that asks for."""
        first_life, kept.first_life = kept.first_life, False
        if kept.restart_asked:
            kept.backoff.reset()
            self._output.say(f"{kept.name} starts again with the changed code")
        elif code == os.EX_CONFIG and first_life:
            self._output.say(f"{kept.name} cannot run with this configuration (see above): stopping")
            self.stop(exit_code=code)
        elif code == os.EX_CONFIG and self._patient:
            self._output.say(f"{kept.name} cannot run like this (see above); waiting for a change")
            await self._woken(kept)
        else:
            delay = kept.backoff.after(alive)
            self._output.say(f"{kept.name} {describe_end(code)}; starting it again in {delay:g} s")
            await self._woken(kept, within=delay)

    async def _woken(self, kept: _Kept, within: float | None = None) -> None:
        """Wait for a reload, for the stop of everything, or for the time to pass."""
        waits = [asyncio.create_task(event.wait()) for event in (kept.wake, self._stopping)]
        try:
            await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _stop_in_order(self, tasks: dict[str, asyncio.Task[None]]) -> None:
        """SIGTERM stage by stage; what has not ended when the common grace is over gets SIGKILL."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_GRACE_SECS
        for _, stage in groupby(self._kept, key=lambda kept: kept.service.spec.stage):
            group = list(stage)
            for kept in group:
                kept.service.terminate()
            patience = min(_STAGE_SECS, deadline - loop.time())
            await asyncio.wait([tasks[kept.name] for kept in group], timeout=patience)
        _, late = await asyncio.wait(tasks.values(), timeout=max(0, deadline - loop.time()))
        if late:
            names = ", ".join(name for name, task in tasks.items() if task in late)
            self._output.say(f"{names} did not stop within {STOP_GRACE_SECS:g} s: killed")
        self.kill()


def describe_end(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
