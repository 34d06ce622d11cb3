"""How much memory the services take: resident, as `ps` shows it, with the pages of libraries that other processes use too."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE

import psutil

from bench.cpu import program
from bench.load import Figures

KIB, MIB = 1024, 1024**2
SERVICES = ("treadle_api", "treadle_worker", "treadle_scheduler")
# What a process takes to have the benchmark's graphs, whatever serves them: most of it is langgraph, which they import.
GRAPHS_ALONE = """
import psutil
process = psutil.Process()
before = process.memory_info().rss
from bench import graphs
print(process.memory_info().rss - before)
"""


async def at_rest(dev: psutil.Process) -> Figures:
    """MiB of each service, with and without the user's graphs; of several processes of one service, those of the largest."""
    whole = {
        service.removeprefix("treadle_"): max(resident(each) for each in processes(dev, service)) / MIB
        for service in SERVICES
    }
    graphs = await graphs_alone() / MIB
    return {
        **{f"{service}_mib": taken for service, taken in whole.items()},
        "graphs_alone_mib": graphs,
        **{f"{service}_without_graphs_mib": taken - graphs for service, taken in whole.items()},
    }


async def graphs_alone() -> int:
    """Bytes that the graphs take in a process that does nothing but import them, beyond what Python itself takes."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", GRAPHS_ALONE, stdout=PIPE)
    said, _ = await process.communicate()
    return int(said)


def processes(dev: psutil.Process, service: str) -> list[psutil.Process]:
    return [each for each in dev.children(recursive=True) if program(each) == service]


def resident(*of: psutil.Process) -> int:
    """Bytes."""
    return sum(each.memory_info().rss for each in of)
