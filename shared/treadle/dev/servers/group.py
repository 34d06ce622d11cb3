"""The three servers together."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from treadle.dev.servers.base import EmbeddedServer
from treadle.dev.servers.nats import EmbeddedNats
from treadle.dev.servers.postgres import EmbeddedPostgres
from treadle.dev.servers.valkey import EmbeddedValkey


class Servers(NamedTuple):
    """One server of each kind, on one data directory."""

    postgres: EmbeddedPostgres
    nats: EmbeddedNats
    valkey: EmbeddedValkey

    @classmethod
    def at(cls, data_dir: Path) -> Servers:
        return cls(EmbeddedPostgres(data_dir), EmbeddedNats(data_dir), EmbeddedValkey(data_dir))


async def start_together(servers: Iterable[EmbeddedServer]) -> None:
    """Start servers at the same time; when one fails, none is left running and its error is raised."""
    servers = list(servers)
    try:
        async with asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.start(), name=f"start {server.name}")
    except BaseExceptionGroup as failures:
        await stop_together(servers)
        raise failures.exceptions[0] from failures


async def stop_together(servers: Iterable[EmbeddedServer]) -> None:
    """Stop servers at the same time (none needs another); all are stopped before an error is raised."""
    ends = await asyncio.gather(*(server.stop() for server in servers), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


@asynccontextmanager
async def temporary_servers() -> AsyncGenerator[Servers]:
    """Servers on a new data directory that is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="treadle-data-") as directory:
        servers = Servers.at(_passable(Path(directory)))
        await start_together(servers)
        try:
            yield servers
        finally:
            await stop_together(servers)
            shutil.rmtree(servers.postgres.home, ignore_errors=True)


def _passable(directory: Path) -> Path:
    """Let others pass through: under root, Postgres runs as someone else, who has to get in."""
    directory.chmod(0o711)
    return directory
