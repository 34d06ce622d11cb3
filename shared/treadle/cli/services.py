"""`treadle api`, `worker`, `scheduler`: one service, configured by the environment alone."""

from __future__ import annotations

import os
import runpy

import click

PROCESSES = "TREADLE_API_PROCESSES"


@click.command()
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    envvar=PROCESSES,
    default=1,
    show_default=True,
    help="How many processes share the port.",
)
def api(processes: int) -> None:
    """Run the HTTP API alone (see docs/settings.md).

    Needs DATABASE_URI, REDIS_URI and NATS_URL, and serves the graphs of LANGGRAPH_CONFIG on TREADLE_HOST
    and TREADLE_PORT.
    """
    os.environ[PROCESSES] = str(processes)
    _become("treadle_api" if processes == 1 else "treadle_api.processes")


@click.command()
def worker() -> None:
    """Run one worker process alone (see docs/settings.md).

    Needs DATABASE_URI, REDIS_URI and NATS_URL, and executes N_JOBS_PER_WORKER runs at the same time. SIGTERM
    lets them finish for BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS, then hands them to another worker.
    """
    _become("treadle_worker")


@click.command()
def scheduler() -> None:
    """Run one scheduler alone (see docs/settings.md).

    Needs DATABASE_URI, REDIS_URI and NATS_URL. Of any number of schedulers one leads; the others stand by.
    """
    _become("treadle_scheduler")


def _become(module: str) -> None:
    """Do what `python -m MODULE` does. By name: nothing here may import a service."""
    runpy.run_module(module, run_name="__main__", alter_sys=True)
