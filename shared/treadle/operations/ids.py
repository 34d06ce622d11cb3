"""Ids in paths and bodies."""

from __future__ import annotations

from uuid import UUID

from uuid_utils.compat import uuid7

from treadle.errors import InvalidRequest

new_id = uuid7


def read_id(kind: str, text: str) -> UUID:
    """Parse an id.

    Args:
        kind: what it names: `thread`, `run`, `assistant`.

    Raises:
        InvalidRequest: it is not a UUID.
    """
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest(f"Invalid {kind} ID: must be a UUID, not {text[:64]!r}") from None
