"""Moments, as clients read them."""

from __future__ import annotations

from datetime import datetime


def moment(at: datetime) -> str:
    """ISO 8601 with the offset spelt out, as the protocol's clients have always got it."""
    return at.isoformat()
