"""Files that settings name: certificates, keys, credentials."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from treadle.errors import ConfigError


def read(setting: str, path: str) -> bytes:
    """What is in a file that a setting names.

    Raises:
        ConfigError: it cannot be read. Drivers would say so without its name, and try for ever.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{setting} names {path}, which cannot be read: {error.strerror}. Correct the path, or let the user that Treadle "
            "runs as read it."
        ) from error


def check_parameters(setting: str, url: str, names: Iterable[str]) -> None:
    """See to it that the files exist which an address names in these of its parameters.

    Raises:
        ConfigError: one cannot be read.
    """
    given = parse_qs(urlsplit(url).query)
    for name in names:
        for path in given.get(name, ()):
            read(f"{setting} ({name})", path)
