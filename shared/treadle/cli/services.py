"""`treadle api`, `worker`, `scheduler`: one service in this process, configured by the environment alone."""

from __future__ import annotations

import runpy

import click


@click.command()
def api() -> None:
    """Run the HTTP API alone (see docs/settings.md).

    Needs DATABASE_URI, REDIS_URI and NATS_URL, and serves the graphs of LANGGRAPH_CONFIG on TREADLE_HOST
    and TREADLE_PORT.
    """
    _become("treadle_api")


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
