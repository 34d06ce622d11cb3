"""How much memory the services take: resident, as `ps` shows it, with the pages of libraries that other processes use too."""

from __future__ import annotations

import psutil

from bench.cpu import program
from bench.load import Figures

KIB, MIB = 1024, 1024**2
SERVICES = ("treadle_api", "treadle_worker", "treadle_scheduler")


def at_rest(dev: psutil.Process) -> Figures:
    """MiB of each service; of several processes of one service, those of the largest."""
    return {
        f"{service.removeprefix('treadle_')}_mib": max(resident(each) for each in processes(dev, service))
        / MIB
        for service in SERVICES
    }


def processes(dev: psutil.Process, service: str) -> list[psutil.Process]:
    return [each for each in dev.children(recursive=True) if program(each) == service]


def resident(*of: psutil.Process) -> int:
    """Bytes."""
    return sum(each.memory_info().rss for each in of)
