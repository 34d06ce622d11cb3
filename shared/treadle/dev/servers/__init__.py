"""Real Postgres, NATS and Valkey servers from their wheels, each on its own data below one directory.

    async with temporary_servers() as servers:
        await asyncpg.connect(servers.postgres.url)

An address stays the same for as long as its data directory lives, over stops and starts. Start servers from
the main thread: the kernel ends them with the thread that started them (see `treadle.parent`).
"""

from treadle.dev.servers.base import EmbeddedServer, ServerFailed
from treadle.dev.servers.group import Servers, start_together, stop_together, temporary_servers
from treadle.dev.servers.nats import EmbeddedNats
from treadle.dev.servers.postgres import EmbeddedPostgres
from treadle.dev.servers.valkey import EmbeddedValkey

__all__ = [
    "EmbeddedNats",
    "EmbeddedPostgres",
    "EmbeddedServer",
    "EmbeddedValkey",
    "ServerFailed",
    "Servers",
    "start_together",
    "stop_together",
    "temporary_servers",
]
