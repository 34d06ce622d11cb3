"""The three servers behind the services: embedded ones, or the user's own where the environment names one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from treadle.address import without_password
from treadle.dev.servers import EmbeddedNats, EmbeddedPostgres, EmbeddedServer, EmbeddedValkey


@dataclass(frozen=True)
class Backend:
    """One server that the services need: `server` is None when the user runs it."""

    title: str
    variable: str
    url: str
    listens: str
    server: EmbeddedServer | None = None


def backends(data_dir: Path, environ: Mapping[str, str]) -> list[Backend]:
    """Postgres, NATS and Valkey, their addresses chosen, none started; in the order of their start."""
    wanted = (
        ("Postgres", "DATABASE_URI", EmbeddedPostgres),
        ("NATS", "NATS_URL", EmbeddedNats),
        ("Valkey", "REDIS_URI", EmbeddedValkey),
    )
    return [
        _users_own(title, variable, url)
        if (url := environ.get(variable))
        else _embedded(title, variable, kind(data_dir))
        for title, variable, kind in wanted
    ]


def _embedded(title: str, variable: str, server: EmbeddedServer) -> Backend:
    server.settle()
    return Backend(title, variable, server.url, server.listens, server)


def _users_own(title: str, variable: str, url: str) -> Backend:
    return Backend(title, variable, url, f"{without_password(url)}  (from {variable})")
