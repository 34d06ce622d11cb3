"""One `treadle dev` per data directory."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, Self

from treadle.errors import TreadleError


class DataDirInUse(TreadleError):
    """Another process holds the data directory; the message names it and its address."""


class DataDirLock:
    """Holds a data directory for as long as the context, or the process, lasts.

    The kernel gives the lock back when the process ends in whatever way: it is never stale.
    """

    def __init__(self, data_dir: Path, *, address: str) -> None:
        self._data_dir = data_dir
        self._address = address
        self._file: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            DataDirInUse: another process has it.
        """
        file = os.open(self._data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(file, 4096, 0)
            os.close(file)
            raise DataDirInUse(self._refusal(holder)) from error
        self._file = file
        os.truncate(file, 0)
        os.pwrite(file, json.dumps({"pid": os.getpid(), "address": self._address}).encode(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _refusal(self, holder: bytes) -> str:
        try:
            known: dict[str, Any] = json.loads(holder)
            who = f"`treadle dev` with pid {known['pid']}, which serves {known['address']}"
        except (ValueError, KeyError):
            who = "another `treadle dev` that is just starting"
        return (
            f"The data directory {self._data_dir} is in use by {who}. "
            "Stop that one, or give this one a directory of its own with --data-dir."
        )
