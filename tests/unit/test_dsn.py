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


@pytest.mark.parametrize("password", ["sec/ret", "sec#ret", "sec[ret", "s@c/ret", "sec%ret", "sec?ret"])
def test_a_password_that_is_not_escaped_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URI cannot be understood") as refused:
        parse(f"postgresql://u:{password}@db/x")

    assert "ret" not in str(refused.value)


def test_a_certificate_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"DATABASE_URI \(sslrootcert\) names /none, which cannot be read"):
        parse(f"{PLAIN}?sslmode=verify-full&sslrootcert=/none")
