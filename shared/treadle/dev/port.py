"""The port of the API: asked for before anything is started, so that a taken one costs no time."""

from __future__ import annotations

import errno

from treadle.dev.servers.addresses import is_free, try_to_bind
from treadle.errors import ConfigError

_LAST_PORT = 65_535
_NEIGHBOURS = 50


def refuse_taken_port(host: str, port: int) -> None:
    """Raise ConfigError, with the way out, when the API could not listen there."""
    try:
        try_to_bind(host, port)
    except OSError as error:
        raise ConfigError(_explain(host, port, error)) from error


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken by another program. Stop that program, or choose another port: "
            f"treadle dev --port {_free_neighbour(host, port)}"
        )
    if error.errno == errno.EACCES:
        return (
            f"Port {port} on {host} is closed to this user: ports below 1024 mostly belong to root. "
            "Choose a higher one with --port."
        )
    return (
        f"The API cannot listen on {host}, port {port}: {error.strerror}. "
        "--host takes an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them."
    )


def _free_neighbour(host: str, port: int) -> int:
    neighbours = range(port + 1, min(port + _NEIGHBOURS, _LAST_PORT) + 1)
    return next((other for other in neighbours if is_free(host, other)), 8000)
