"""Runs a module as `python -m` would, and has it say on SIGUSR2 where it is: `python -m tests.explained treadle_worker`.

A service that does not end has its threads at rest, as a rule, and waits in a task of which they say nothing.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import runpy
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, cast

import psutil


def explain() -> None:
    """Have this process say where it is when it gets SIGUSR2."""
    signal.signal(signal.SIGUSR2, _say)


def _say(_: int, __: FrameType | None) -> None:
    faulthandler.dump_traceback(all_threads=True)
    print("\n".join(_lines()), file=sys.stderr, flush=True)  # noqa: T201 - the log is what it goes to


def _lines() -> Iterator[str]:
    tasks = cast(
        "list[asyncio.Task[Any]]", [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]
    )
    for task in (each for each in tasks if not each.done()):
        yield f"task {task.get_name()}, cancelled {task.cancelling()} times:"
        yield from (f"  {place}" for place in _places(task.get_coro()))
    yield from (f"process {child.pid}: {child.cmdline()}" for child in psutil.Process().children())


def _places(awaited: Any) -> Iterator[str]:
    """Where a coroutine waits, outermost first, down to the future that is waited for."""
    while awaited is not None:
        frame = _first(awaited, "cr_frame", "ag_frame", "gi_frame")
        yield repr(awaited) if frame is None else _place(frame)
        awaited = _first(awaited, "cr_await", "ag_await", "gi_yieldfrom")


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"


def _first(awaited: Any, *names: str) -> Any:
    """Of a coroutine, an asynchronous generator or a generator, which have names of their own for the same."""
    return next((found for name in names if (found := getattr(awaited, name, None)) is not None), None)


if __name__ == "__main__":
    explain()
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
