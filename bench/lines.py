"""How a player in a process of its own is asked: the name of a scenario on a line, its figures as a line of JSON."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
import psutil

from bench.load import Figures, ScenarioFailed

READY_SECS = 60.0
STOP_SECS = 10.0


class Answer(msgspec.Struct, omit_defaults=True):
    """What came of a scenario, or of getting ready for the first."""

    figures: Figures = {}
    failed: str | None = None


async def answer(play: Callable[[str], Awaitable[Figures]]) -> None:
    """In that process: say that it is ready, and play what is asked for until the standard input ends."""
    _say(Answer())
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            _say(Answer(await play(line.strip())))
        except ScenarioFailed as failure:
            _say(Answer(failed=str(failure)))


def refuse(failure: ScenarioFailed) -> None:
    """In that process: say that it cannot get ready."""
    _say(Answer(failed=str(failure)))


def _say(answer: Answer) -> None:
    print(msgspec.json.encode(answer).decode(), flush=True)


class Asked:
    """Such a process, seen by who asks it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.process = psutil.Process(process.pid)

    async def play(self, scenario: str) -> Figures:
        """One pass.

        Raises:
            ScenarioFailed: with the reason.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{scenario}\n".encode())
        return await self._figures()

    async def ready(self) -> None:
        """Until it is; raises as `play` does."""
        try:
            async with asyncio.timeout(READY_SECS):
                await self._figures()
        except TimeoutError:
            raise ScenarioFailed(f"the player was not ready within {READY_SECS:g} s") from None

    async def _figures(self) -> Figures:
        assert self._process.stdout is not None
        if not (line := await self._process.stdout.readline()):
            raise ScenarioFailed(f"the player ended with exit code {await self._process.wait()}")
        answer = msgspec.json.decode(line, type=Answer)
        if answer.failed is not None:
            raise ScenarioFailed(answer.failed)
        return answer.figures


@asynccontextmanager
async def asked(module: str, *arguments: str) -> AsyncGenerator[Asked]:
    """Run a module that answers, and wait until it is ready; leaving the context ends it.

    Raises:
        ScenarioFailed: it does not get ready.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments), stdin=PIPE, stdout=PIPE
    )
    try:
        player = Asked(process)
        await player.ready()
        yield player
    finally:
        with suppress(ProcessLookupError):
            process.kill()  # it keeps nothing
        await asyncio.wait_for(process.wait(), STOP_SECS)
