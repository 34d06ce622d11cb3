"""Servers of the simulation's own: those of `treadle dev`, with room for a fleet, and with their counters in reach."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from bench.server import HOST, free_port
from treadle.dev.servers import Servers
from treadle.dev.servers.group import start_together, stop_together
from treadle.dev.servers.nats import EmbeddedNats
from treadle.dev.servers.postgres import EmbeddedPostgres
from treadle.dev.servers.valkey import EmbeddedValkey

POSTGRES = {"max_connections": "1500", "shared_preload_libraries": "pg_stat_statements"}


class RoomyPostgres(EmbeddedPostgres):
    """Postgres that takes the connections of a fleet, and counts its statements."""

    def command(self) -> list[str | Path]:
        flags = [word for name, value in POSTGRES.items() for word in ("-c", f"{name}={value}")]
        return [*super().command(), *flags]


class WatchedNats(EmbeddedNats):
    """NATS that answers questions about itself over HTTP."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self._monitor = free_port()

    @property
    def monitor(self) -> str:
        return f"http://{HOST}:{self._monitor}"

    def command(self) -> list[str | Path]:
        return [*super().command(), "--http_port", str(self._monitor)]


@asynccontextmanager
async def fleet_servers() -> AsyncGenerator[tuple[Servers, WatchedNats]]:
    """The three servers on a new data directory that is removed in the end; and NATS, as what it is here."""
    with _directory() as home:
        nats = WatchedNats(home)
        servers = Servers(RoomyPostgres(home), nats, EmbeddedValkey(home))
        await start_together(servers)
        try:
            yield servers, nats
        finally:
            await stop_together(servers)
            shutil.rmtree(servers.postgres.home, ignore_errors=True)


@contextmanager
def _directory() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="treadle-scale-") as directory:
        home = Path(directory)
        home.chmod(0o711)  # under root Postgres runs as someone else, who has to get in
        yield home
