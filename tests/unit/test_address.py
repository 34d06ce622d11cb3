"""Addresses as they are shown: with the server, without what opens it."""

from __future__ import annotations

import pytest

from treadle.address import without_password


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:secret@db:5432/x", "postgresql://u:***@db:5432/x"),
        ("postgresql://u:sec,ret@db/x", "postgresql://u:***@db/x"),
        ("postgresql://u:sec@,ret@a:1,b:2/x", "postgresql://u:***@a:1,b:2/x"),
        ("postgresql://u@db/x?password=secret&host=/run/pg", "postgresql://u@db/x?host=/run/pg"),
        ("postgresql://u:sec/ret@db/x", "postgresql://***"),
        ("postgresql://u:sec#ret@db/x", "postgresql://***"),
        ("postgresql://u:sec?ret@db/x", "postgresql://***"),
        ("postgresql://u:sec[ret@db/x", "postgresql://***"),
        ("postgresql://u:s@c/ret@db/x", "postgresql://***"),
        ("redis://:secret@cache:6379/0", "redis://:***@cache:6379/0"),
        ("nats://secret@bus:4222", "nats://***@bus:4222"),
        ("tls://secret@bus:4222", "tls://***@bus:4222"),
        ("nats://u:secret@one, tls://u:sec,ret@two", "nats://u:***@one,tls://u:***@two"),
        ("nats://u:secret@one,u:secret@two", "nats://u:***@two"),
        ("nats://one:4222,two:4222", "nats://one:4222,two:4222"),
    ],
)
def test_no_secret_is_shown(address: str, shown: str) -> None:
    assert without_password(address) == shown
