"""The services that `treadle dev` runs, as processes with their environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from treadle.dev.backends import Backend
from treadle.dev.options import DevOptions
from treadle.dev.service import ServiceSpec

# Stages of the stop: nothing comes in any more, nothing new is started, what runs is handed back.
_API, _SCHEDULER, _WORKERS = range(3)
# Whoever stops `treadle dev` does not want to wait: a run stops after its present step and is handed back.
_DRAIN_SECS = "0"
# All of them share this machine's cores.
_RUSH_SECS = "0.5"


def services(
    options: DevOptions, backends: Sequence[Backend], environ: Mapping[str, str]
) -> list[ServiceSpec]:
    """API, scheduler and workers."""
    env = environment(options, backends, environ)
    names = (
        [f"worker-{number}" for number in range(1, options.workers + 1)]
        if options.workers > 1
        else ["worker"]
    )
    return [
        ServiceSpec("api", _launch("treadle_api"), env, stage=_API, reloads=True),
        ServiceSpec("scheduler", _launch("treadle_scheduler"), env, stage=_SCHEDULER),
        *(ServiceSpec(name, _launch("treadle_worker"), env, stage=_WORKERS, reloads=True) for name in names),
    ]


def migration(options: DevOptions, backends: Sequence[Backend], environ: Mapping[str, str]) -> ServiceSpec:
    """The process that migrates the database and ends."""
    return ServiceSpec("migrate", _launch("treadle.dev.migration"), environment(options, backends, environ))


def environment(
    options: DevOptions, backends: Sequence[Backend], environ: Mapping[str, str]
) -> dict[str, str]:
    """The environment of every service: the user's, with what `treadle dev` decides."""
    defaults = {
        "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": _DRAIN_SECS,
        "LOG_FORMAT": "text",
        "TREADLE_RUSH_SECS": _RUSH_SECS,
        "TREADLE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
    }
    decided = {
        "LANGGRAPH_CONFIG": str(options.project.config),
        "N_JOBS_PER_WORKER": str(options.jobs_per_worker),
        "TREADLE_API_PROCESSES": "1",
        "TREADLE_HOST": options.host,
        "TREADLE_PORT": str(options.port),
        "PYTHONUNBUFFERED": "1",
    }
    return {**defaults, **environ, **decided, **{backend.variable: backend.url for backend in backends}}


def _launch(module: str) -> tuple[str, ...]:
    # -P: a `redis.py` in the directory where the user happens to be must not stand in for the library.
    return (sys.executable, "-P", "-m", "treadle.dev.launch", module)
