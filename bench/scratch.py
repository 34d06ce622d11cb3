"""Directories for the data of one run of the benchmark."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_dir() -> Generator[Path]:
    """One that goes with what is in it, open to passers-by: Postgres runs as another user when root runs the benchmark."""
    with tempfile.TemporaryDirectory(prefix="treadle-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory
