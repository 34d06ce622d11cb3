"""How much memory the services take: resident, as `ps` shows it, with the pages of libraries that other processes use too."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE

import psutil

from bench.cpu import program
from bench.load import Figures
from bench.server import SERVED_PYTHON

KIB, MIB = 1024, 1024**2
WITH_GRAPHS = ("api", "worker")
SERVICES = (*WITH_GRAPHS, "scheduler")
# What the benchmark's graphs take in a process that has all of a service already, langgraph among it.
GRAPHS = """
import psutil
import treadle_{service}.__main__
process = psutil.Process()
before = process.memory_info().rss
from bench import graphs
print(process.memory_info().rss - before)
"""


async def at_rest(dev: psutil.Process) -> Figures:
    """MiB of each service, without the user's graphs; of several processes of one service, those of the largest."""
    whole = {
        service: max(resident(each) for each in processes(dev, f"treadle_{service}")) / MIB
        for service in SERVICES
    }
    graphs = {service: await graphs_in(service) / MIB for service in WITH_GRAPHS}
    return {
        **{f"{service}_mib": taken - graphs.get(service, 0.0) for service, taken in whole.items()},
        **{f"graphs_in_{service}_mib": taken for service, taken in graphs.items()},
    }


async def graphs_in(service: str) -> int:
    """Bytes that the graphs add to a service."""
    process = await asyncio.create_subprocess_exec(
        SERVED_PYTHON, "-c", GRAPHS.format(service=service), stdout=PIPE
    )
    said, _ = await process.communicate()
    return int(said)


def processes(dev: psutil.Process, service: str) -> list[psutil.Process]:
    return [each for each in dev.children(recursive=True) if program(each) == service]


def resident(*of: psutil.Process) -> int:
    """Bytes."""
    return sum(each.memory_info().rss for each in of)
