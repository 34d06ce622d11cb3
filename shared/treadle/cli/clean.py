"""What may be written to a terminal."""

from __future__ import annotations

import re

# All control characters but tab and newline: what a graph says must not steer the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """The text without characters that steer a terminal."""
    return _CONTROL.sub("", text)
