"""Files of environment variables: `.env`, one NAME=value a line."""

from __future__ import annotations

import re
from pathlib import Path

from treadle.errors import ConfigError

COMMENT = re.compile(r"(^|\s)#.*")


def read_env_file(file: Path, named_by: str) -> dict[str, str]:
    """The variables of a file; of two with one name, the later.

    Args:
        named_by: what names the file, for the error.

    Raises:
        ConfigError: there is no such file, or a line of it is not NAME=value.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{named_by} names the file {file}, which is not UTF-8 text.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{named_by} names the file {file}, which cannot be read: {reason}.") from error
    numbered = ((number, line.strip()) for number, line in enumerate(lines, 1))
    return dict(_read(file, number, line) for number, line in numbered if line and not line.startswith("#"))


def _read(file: Path, number: int, line: str) -> tuple[str, str]:
    name, equals, value = line.removeprefix("export ").partition("=")
    if not (equals and name.strip().isidentifier()):
        # What stands there may be a secret, and is not shown.
        raise ConfigError(f"{file}, line {number}: write NAME=value.")
    return name.strip(), _value(value.strip())


def _value(text: str) -> str:
    """The text between its quotes, or, without quotes, up to a comment."""
    if text[:1] in {"'", '"'} and (end := text.find(text[0], 1)) > 0:
        return text[1:end]
    return COMMENT.sub("", text)
