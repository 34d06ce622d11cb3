"""Whose fault an error of Postgres is."""

from __future__ import annotations

import pytest

from treadle.db.sqlstates import is_away


@pytest.mark.parametrize(
    ("sqlstate", "away"),
    [
        pytest.param(None, True, id="lost connection"),
        pytest.param("57P01", True, id="server shuts down"),
        pytest.param("53100", True, id="disk full"),
        pytest.param("58030", True, id="I/O error"),
        pytest.param("25006", True, id="read-only"),
        pytest.param("57014", False, id="statement_timeout"),
        pytest.param("58P01", False, id="file missing"),
        pytest.param("22001", False, id="data"),
    ],
)
def test_only_what_may_pass_is_postgres_being_away(sqlstate: str | None, away: bool) -> None:
    assert is_away(sqlstate) is away
