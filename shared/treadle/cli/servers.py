"""Where the servers are that a command talks to: those of the environment, or those of a `treadle dev`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats.errors
from nats.aio.client import Client

from treadle.db.pool import Pool, connect_pool
from treadle.dev.servers import EmbeddedNats, EmbeddedPostgres, EmbeddedServer
from treadle.errors import ConfigError, Unavailable
from treadle.messaging.access import NatsAccess

USUAL_DATA_DIR = Path(".treadle")
CONNECT_SECS = 3
_SERVERS: tuple[tuple[str, type[EmbeddedServer]], ...] = (
    ("DATABASE_URI", EmbeddedPostgres),
    ("NATS_URL", EmbeddedNats),
)


@dataclass(frozen=True)
class Link:
    """A connection to NATS, as whatever publishes over one wants it."""

    client: Client

    @property
    def connected(self) -> bool:
        return self.client.is_connected


@dataclass(frozen=True)
class Database:
    """The address of Postgres, with credentials; `found`: where it was read, for error messages."""

    database_uri: str
    found: str


@dataclass(frozen=True)
class Addresses(Database):
    """That of NATS too, with what opens it."""

    nats: NatsAccess


def addresses(data_dir: Path | None, environ: Mapping[str, str] = os.environ) -> Addresses:
    """The addresses of Postgres and NATS.

    Args:
        data_dir: of a `treadle dev`, whose servers go before the environment's; None: the environment's go before those
            that lie in `.treadle`.

    Raises:
        ConfigError: one is neither set nor recorded.
    """
    chosen, found = _chosen(data_dir, environ, ("DATABASE_URI", "NATS_URL"))
    # Keys and certificates of the environment are for the server that it names.
    beside = environ if chosen["NATS_URL"] == environ.get("NATS_URL") else dict[str, str]()
    return Addresses(chosen["DATABASE_URI"], found, NatsAccess.given(chosen["NATS_URL"], beside))


def database(data_dir: Path | None, environ: Mapping[str, str] = os.environ) -> Database:
    """The address of Postgres alone, for what needs no NATS: as `addresses` finds it."""
    chosen, found = _chosen(data_dir, environ, ("DATABASE_URI",))
    return Database(chosen["DATABASE_URI"], found)


def _chosen(
    data_dir: Path | None, environ: Mapping[str, str], needed: Sequence[str]
) -> tuple[dict[str, str], str]:
    """The addresses that are needed, by the names of their variables, and where they were read."""
    recorded = _recorded(data_dir or USUAL_DATA_DIR)
    given = {name: environ[name] for name in needed if environ.get(name)}
    chosen = {**given, **recorded} if data_dir is not None else {**recorded, **given}
    if missing := [name for name in needed if name not in chosen]:
        raise ConfigError(
            f"{' and '.join(missing)} must be set in the environment, or --data-dir must name the folder in which "
            f"`treadle dev` keeps its data; {data_dir or USUAL_DATA_DIR} is none."
        )
    dev = [name for name in needed if recorded.get(name) == chosen[name]]
    return chosen, f"`treadle dev` on {data_dir or USUAL_DATA_DIR}" if dev else "the environment"


def _recorded(data_dir: Path) -> dict[str, str]:
    """What `treadle dev` keeps, passwords too, readable by its user only."""
    servers = {name: kind(data_dir) for name, kind in _SERVERS}
    return {name: server.url for name, server in servers.items() if server.recall_address()}


@asynccontextmanager
async def postgres(where: Database) -> AsyncGenerator[Pool]:
    """A pool of one connection.

    Raises:
        Unavailable: nobody answers at the address.
    """
    try:
        pool = await connect_pool(where.database_uri, size=1, service="cli")
    except Unavailable as error:
        raise Unavailable(f"{error} The address is that of {where.found}: is it running?") from error
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def nats_client(where: Addresses) -> AsyncGenerator[Client]:
    """A connection that says at once when nobody answers, and is not taken up again when it breaks.

    Raises:
        ConfigError: a file that a setting names cannot be used.
        Unavailable: nobody answers at the address.
    """
    client = where.nats.client()
    problems = list[str]()

    async def failed(error: Exception) -> None:
        problems.append(str(error) or type(error).__name__)

    try:
        await client.connect(
            **where.nats.options(),
            name="treadle-cli",
            connect_timeout=CONNECT_SECS,
            allow_reconnect=False,
            # Each address is tried twice; the client takes 0 for "again and again".
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            error_cb=failed,
        )
    except (OSError, TimeoutError, nats.errors.Error) as error:
        problem = problems[-1] if problems else str(error) or type(error).__name__
        raise Unavailable(
            f"NATS could not be reached: {problem}. The address is that of {where.found}: is it running? "
            "Check NATS_URL and the credentials in it or beside it (TREADLE_NATS_*)."
        ) from error
    try:
        yield client
    finally:
        await client.close()
