"""What DATABASE_URI says to Treadle alone, and what is left of it for the drivers."""

from __future__ import annotations

import pytest

from treadle.db.dsn import Dsn, parse
from treadle.errors import ConfigError

PLAIN = "postgresql://u:p@db/x"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (PLAIN, Dsn(PLAIN, prepared=True)),
        (f"{PLAIN}?prepared_statements=yes", Dsn(PLAIN, prepared=True)),
        (f"{PLAIN}?prepared_statements=no", Dsn(PLAIN, prepared=False)),
        (
            f"{PLAIN}?sslmode=require&prepared_statements=no&host=/run/a%20b",
            Dsn(f"{PLAIN}?sslmode=require&host=/run/a%20b", prepared=False),
        ),
    ],
)
def test_what_the_drivers_are_given(given: str, taken: Dsn) -> None:
    assert parse(given) == taken


@pytest.mark.parametrize("value", ["", "maybe", "No"])
def test_anything_else_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=f"prepared_statements={value}: it is `yes`, or `no`"):
        parse(f"{PLAIN}?prepared_statements={value}")
