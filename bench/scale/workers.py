"""`python -m bench.scale.workers 100`: so many workers, each a process, from one process that has imported everything.

They are the worker that `treadle worker` runs, each with its own loop, thread and connections. Only their start is cheaper: what
was imported is there once in memory (copy on write) rather than a hundred times, which a small machine has no room for.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvloop

from treadle import settings as treadle_settings
from treadle.graphs.config import read_config
from treadle.graphs.registry import Registry
from treadle.service import Given
from treadle.telemetry.logs import setup_logging
from treadle.telemetry.tracing import setup_tracing
from treadle_worker.app import Worker
from treadle_worker.lifeline import die_with_parent

log = logging.getLogger(__name__)


def main(count: int) -> None:
    """Start the workers, pass signals on to them, and end when the last of them has."""
    settings = treadle_settings.load()
    setup_logging("worker", settings.log_level, settings.log_format)
    config = read_config(Path(settings.langgraph_config))
    registry = Registry.load(config)
    gc.collect()
    gc.freeze()  # a collection would touch, and so copy, all pages of what is imported
    work = partial(_work, Given(settings, config, registry, setup_tracing("worker", worker_id="worker")))
    children = [_fork(work) for _ in range(count)]

    def tell(number: int, _: object) -> None:
        for child in children:
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    died = [child for child in children if os.waitpid(child, 0)[1] != 0]
    if died:
        sys.exit(f"{len(died)} of {count} workers died")


def _fork(work: Callable[[], None]) -> int:
    """Returns the child's pid."""
    if child := os.fork():
        return child
    status = 1
    try:
        die_with_parent()
        work()
        status = 0
    except BaseException:
        log.critical("the worker has failed", exc_info=True)
    finally:
        os._exit(status)


def _work(given: Given) -> None:
    uvloop.run(Worker(given).run())


if __name__ == "__main__":
    main(int(sys.argv[1]))
