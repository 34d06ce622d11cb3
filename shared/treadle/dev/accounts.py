"""The operating system users that matter to `treadle dev`, and what they can reach."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from treadle.errors import ConfigError


@dataclass(frozen=True)
class Account:
    """A user of the operating system."""

    name: str
    uid: int
    gid: int

    @property
    def is_root(self) -> bool:
        return self.uid == 0


def current() -> Account:
    """The user that this process runs as.

    Raises:
        ConfigError: the user has no name, without which Postgres cannot work.
    """
    return _by_uid(os.geteuid())


def owner_of(path: Path) -> Account:
    return _by_uid(path.stat().st_uid)


def unprivileged() -> Account:
    """The user that root lends to servers which refuse to run as root."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise ConfigError(
            "Postgres refuses to run as root, and this system has no user `nobody` to run it as. "
            "Start treadle as an ordinary user, or set DATABASE_URI to a Postgres of your own."
        ) from error
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def can_enter(account: Account, directory: Path) -> bool:
    """Whether the user may pass through the directory and all directories above it."""
    resolved = directory.resolve()
    return all(_allows(account, path, stat.S_IXOTH) for path in (resolved, *resolved.parents))


def can_read(account: Account, path: Path) -> bool:
    """Whether the user may reach the file or directory, through a link too, and read it."""
    target = path.resolve()
    reachable = all(can_enter(account, place.parent) for place in (path, target))
    return reachable and _allows(account, target, stat.S_IROTH)


def _allows(account: Account, path: Path, other_bit: int) -> bool:
    """Look the permission up by the bits of the class, owner, group or other, that the user falls in."""
    if account.is_root:
        return True
    found = path.stat()
    shift = 6 if found.st_uid == account.uid else 3 if found.st_gid == account.gid else 0
    return bool(found.st_mode & (other_bit << shift))


def _by_uid(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError as error:
        raise ConfigError(
            f"The user id {uid} has no name on this system (no entry in /etc/passwd), and Postgres does not "
            "start without one. Add an entry, run as another user, or set DATABASE_URI to your own Postgres."
        ) from error
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
