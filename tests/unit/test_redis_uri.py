"""REDIS_URI: what cannot be used of it is said when a service starts, without the password."""

from __future__ import annotations

import pytest

from treadle.errors import ConfigError
from treadle.streaming.connection import connect


@pytest.mark.parametrize("password", ["sec/ret", "sec#ret", "sec[ret"])
def test_a_password_that_is_not_escaped_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(ConfigError, match="REDIS_URI cannot be understood") as refused:
        connect(f"redis://u:{password}@cache:6379/0")

    assert "ret" not in str(refused.value)


def test_a_certificate_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"REDIS_URI \(ssl_ca_certs\) names /none, which cannot be read"):
        connect("rediss://cache:6379/0?ssl_ca_certs=/none")
