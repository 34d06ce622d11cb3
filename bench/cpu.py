"""CPU time by program: what other programs do meanwhile changes it little."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

import psutil

THIS = "benchmark"


def cpu_seconds(root: psutil.Process) -> dict[str, float]:
    """What a process and all below it have used so far, by program; `benchmark` is this process."""
    used: defaultdict[str, float] = defaultdict(float)
    with suppress(psutil.NoSuchProcess):
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                used[program(process)] += _seconds(process)
    return dict(used)


def since(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: secs - before.get(name, 0.0) for name, secs in after.items()}


def program(process: psutil.Process) -> str:
    """`treadle_api`, `postgres`, ...: the service or else the module, where the process is Python."""
    if process == psutil.Process():
        return THIS
    words = process.cmdline()
    if service := next((word for word in words if word.startswith("treadle_")), None):
        return service
    return words[words.index("-m") + 1] if "-m" in words[:-1] else process.name()


def _seconds(process: psutil.Process) -> float:
    """With the processes below it that have ended: Postgres has one for each connection."""
    times = process.cpu_times()
    ended = 0.0 if process == psutil.Process() else times.children_user + times.children_system
    return times.user + times.system + ended
