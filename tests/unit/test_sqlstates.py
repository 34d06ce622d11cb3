"""What of Postgres's errors is worth asking again, and what would come again."""

from __future__ import annotations

import asyncpg
import pytest

from treadle.db.pool import postgres_errors
from treadle.errors import Unavailable


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InvalidPasswordError("changed there first"),
        asyncpg.InvalidAuthorizationSpecificationError("no entry yet"),
        asyncpg.AdminShutdownError("shut down"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_passes_is_postgres_being_away(error: asyncpg.PostgresError) -> None:
    """A password is often changed at the server a moment before the services learn of it."""
    with pytest.raises(Unavailable), postgres_errors("asking"):
        raise error


def test_what_would_come_again_is_an_error() -> None:
    with pytest.raises(asyncpg.UniqueViolationError), postgres_errors("writing"):
        raise asyncpg.UniqueViolationError("twice")
