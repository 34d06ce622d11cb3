"""The settings TREADLE_JWT_*: what accepts tokens, and what stops the start."""

from __future__ import annotations

import pytest

from tests.tokens import loaded, rules
from treadle.errors import ConfigError
from treadle.identity.tokens import Tokens


def test_without_an_issuer_no_tokens_are_accepted() -> None:
    assert Tokens.of(loaded()) is None


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"ISSUER": "https://issuer"}, "TREADLE_JWT_AUDIENCE must be set"),
        ({"JWKS_URL": "https://issuer/keys"}, "TREADLE_JWT_AUDIENCE must be set"),
        ({"AUDIENCE": "a"}, "set TREADLE_JWT_ISSUER"),
        ({"AUDIENCE": "a", "ISSUER": "http://issuer"}, "TREADLE_JWT_ISSUER cannot be used: .* https only"),
        (
            {"AUDIENCE": "a", "JWKS_URL": "http://10.0.0.1/keys"},
            "TREADLE_JWT_JWKS_URL cannot be used: .* https",
        ),
        ({"AUDIENCE": "a", "ISSUER": "issuer"}, "no URL"),
        ({"AUDIENCE": "a", "ISSUER": "https://issuer:port"}, "no URL"),
        ({"AUDIENCE": "a", "ISSUER": "https://ada:hunter2@issuer"}, "a password"),
        ({"ALGORITHMS": "RS256 HS256"}, "TREADLE_JWT_ALGORITHMS is 'RS256 HS256', which cannot be used"),
        ({"ALGORITHMS": "none"}, "TREADLE_JWT_ALGORITHMS is 'none', which cannot be used"),
        ({"DEFAULT_PERMISSIONS": "fly"}, "TREADLE_JWT_DEFAULT_PERMISSIONS is 'fly', which cannot be used"),
        ({"LEEWAY_SECS": "-1"}, "TREADLE_JWT_LEEWAY_SECS"),
    ],
)
def test_settings_that_would_let_others_in_stop_the_start(environ: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        Tokens.of(loaded(**environ))

    assert "hunter2" not in str(refused.value)


def test_lists_in_settings_may_have_commas_and_default_permissions_may_be_none() -> None:
    made = rules(ALGORITHMS="RS256, ES256", DEFAULT_PERMISSIONS="none", ISSUER="http://[::1]:8080/realms/a")

    assert made.algorithms == {"RS256", "ES256"}
    assert made.default == ()
