"""`treadle dev`: the whole system on this machine, with one command."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="LANGGRAPH_CONFIG",
    show_envvar=True,
    help="The langgraph.json to serve. [default: ./langgraph.json, or else the examples of Treadle]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    envvar="TREADLE_HOST",
    show_envvar=True,
    help="Address that the API listens on.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=2024,
    show_default=True,
    envvar=["TREADLE_PORT", "PORT"],
    show_envvar=True,
    help="Port that the API listens on.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".treadle"),
    show_default=True,
    help="Where the servers keep their data.",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--jobs-per-worker",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    envvar="N_JOBS_PER_WORKER",
    show_envvar=True,
    help="Runs that one worker executes at the same time.",
)
@click.option("--reload", is_flag=True, help="Start API and workers again when the code changes.")
def dev(
    config: Path | None,
    host: str,
    port: int,
    data_dir: Path,
    workers: int,
    jobs_per_worker: int,
    reload: bool,
) -> None:
    """Serve the graphs of a langgraph.json, with real Postgres, NATS and Valkey servers.

    The servers come with Treadle and keep their data in --data-dir. Set DATABASE_URI, NATS_URL or REDIS_URI
    to use a server of your own instead.
    """
    from treadle.dev.app import serve  # noqa: PLC0415 - the other commands should not pay for it
    from treadle.dev.options import DevOptions  # noqa: PLC0415
    from treadle.dev.output import output_to  # noqa: PLC0415
    from treadle.dev.project import Project  # noqa: PLC0415

    options = DevOptions(
        project=Project.read(config),
        host=host,
        port=port,
        data_dir=data_dir.expanduser().resolve(),
        workers=workers,
        jobs_per_worker=jobs_per_worker,
        reload=reload,
    )
    with output_to(sys.stdout) as output:
        exit_code = asyncio.run(serve(options, output))
    sys.exit(exit_code)
