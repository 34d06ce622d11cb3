"""The data directory: made before anything is started, and refused when it cannot be ours."""

from __future__ import annotations

import os
from pathlib import Path

from treadle.dev import accounts
from treadle.dev.servers.base import make_data_dir
from treadle.errors import ConfigError


def refuse_unusable_data_dir(data_dir: Path) -> None:
    """Make the directory; raise ConfigError when it cannot be made, or belongs to someone else."""
    try:
        make_data_dir(data_dir)
        mine = os.access(data_dir, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        raise ConfigError(
            f"The data directory {data_dir} cannot be made: {error.strerror}. Choose another with --data-dir."
        ) from error
    if not mine:
        raise ConfigError(
            f"The data directory {data_dir} belongs to {accounts.owner_of(data_dir).name}, and is closed to "
            f"{accounts.current().name}. Choose another with --data-dir."
        )
