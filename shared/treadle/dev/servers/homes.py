"""Where Postgres keeps its data when root starts it.

Postgres refuses to run as root, so root runs it as `nobody`, who may be unable to pass through the
directories above the data directory (/root is closed to others). Opening those is not ours to do; the data
then lies below /var/lib/treadle, and a note in the data directory says where.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from treadle.dev import accounts
from treadle.dev.accounts import Account
from treadle.errors import ConfigError

ELSEWHERE = Path("/var/lib/treadle")


def postgres_account(home: Path) -> Account:
    """Who runs Postgres: this user; under root the owner of the data, who for new data is `nobody`."""
    mine = accounts.current()
    if not mine.is_root:
        return mine
    owner = accounts.owner_of(home) if home.exists() else mine
    return accounts.unprivileged() if owner.is_root else owner


def postgres_home(data_dir: Path) -> Path:
    """The directory for Postgres' data: `<data_dir>/postgres` where that works."""
    usual = data_dir / "postgres"
    note = data_dir / "postgres.location"
    if note.exists():
        return Path(note.read_text().strip())
    if usual.exists() or accounts.can_enter(postgres_account(usual), data_dir):
        return usual
    elsewhere = _make_elsewhere(data_dir)
    note.write_text(f"{elsewhere}\n")
    return elsewhere


def _make_elsewhere(data_dir: Path) -> Path:
    try:
        ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{data_dir.parent.name or 'root'}-", dir=ELSEWHERE))
    except OSError as error:
        raise ConfigError(
            f"Postgres runs as `nobody`, who cannot reach the data directory {data_dir}, and {ELSEWHERE} "
            f"could not be used instead: {error}. Choose a --data-dir that others may pass through."
        ) from error
