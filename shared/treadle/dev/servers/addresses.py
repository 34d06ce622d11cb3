"""Where servers listen: ports and socket directories that stay the same over restarts."""

from __future__ import annotations

import os
import random
import secrets
import socket
import stat
import tempfile
from pathlib import Path

from treadle.dev import accounts
from treadle.dev.accounts import Account
from treadle.errors import ConfigError

LOOPBACK = "127.0.0.1"

# Below the ports that systems hand to outgoing connections, one of which could sit on ours at the next start.
_PORTS = range(20_000, 32_000)
_PORT_TRIES = 100
# A socket's path may be 104 bytes on macOS; the longest name in the directory is `.s.PGSQL.5432.lock`.
_DIRECTORY_LENGTH = 80


def lasting_port(record: Path) -> int:
    """The recorded port if it is free, otherwise another one that is, which gets recorded."""
    try:
        port = int(record.read_text())
    except (FileNotFoundError, ValueError):
        port = 0
    if not (port and is_free(LOOPBACK, port)):
        port = _free_port()
        record.write_text(f"{port}\n")
    return port


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on the address now."""
    try:
        try_to_bind(host, port)
    except OSError:
        return False
    return True


def try_to_bind(host: str, port: int) -> None:
    """Raise the OSError that a server would meet if it listened on the address now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def lasting_password(record: Path) -> str:
    """The recorded password, or a new one, readable by its owner only."""
    if not record.exists():
        record.touch(mode=0o600)
        record.write_text(secrets.token_hex(16))
    return record.read_text().strip()


def lasting_socket_dir(record: Path, account: Account) -> Path:
    """A directory for sockets that only the user (and root) may enter.

    It lies in the temporary directory because the path of a socket has to be short, and because not every
    file system that holds a project can hold a socket. Closed to others, it guards what needs no password.
    """
    if record.exists():
        known = Path(record.read_text().strip())
        if _taken_back(known, account):
            return known
    made = Path(tempfile.mkdtemp(prefix="treadle-", dir=_short_temporary_dir(account)))
    os.chown(made, account.uid, account.gid)
    record.write_text(f"{made}\n")
    return made


def _taken_back(directory: Path, account: Account) -> bool:
    """Make the directory of an earlier start again, or make sure that the one found is still that."""
    try:
        directory.mkdir(mode=0o700)
        os.chown(directory, account.uid, account.gid)
    except FileExistsError:
        found = directory.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == account.uid and not found.st_mode & 0o077
    except OSError:
        return False
    return True


def _short_temporary_dir(account: Account) -> Path:
    for candidate in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - mkdtemp goes below it
        if len(str(candidate)) < _DIRECTORY_LENGTH - 20 and accounts.can_enter(account, candidate):
            return candidate
    raise ConfigError("No temporary directory with a short path was found for sockets. Set TMPDIR to one.")


def _free_port() -> int:
    for port in random.sample(_PORTS, _PORT_TRIES):
        if is_free(LOOPBACK, port):
            return port
    raise ConfigError(f"No free port was found on {LOOPBACK} between {_PORTS.start} and {_PORTS.stop}.")
