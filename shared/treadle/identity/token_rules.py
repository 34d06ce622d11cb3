"""What makes a bearer token good here: the settings TREADLE_JWT_*, read and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

from treadle.errors import ConfigError
from treadle.identity.caller import Permission
from treadle.settings import Settings


@dataclass(frozen=True)
class TokenRules:
    """What a token must be, and what its claims mean.

    Args:
        issuer: the `iss` that it must have; None: it need not have any.
        jwks_url: where the keys are; None: where the issuer's discovery says.
        audiences: one of these must be in `aud`.
        default: what one without permissions may do.
    """

    issuer: str | None
    jwks_url: str | None
    audiences: tuple[str, ...]
    algorithms: frozenset[str]
    leeway_secs: float
    tenant_claim: str
    permissions_claim: str
    default: tuple[Permission, ...]

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """What the settings ask for; None: tokens are not accepted.

        Raises:
            ConfigError: one is missing or cannot be used.
        """
        issuer, jwks_url = settings.treadle_jwt_issuer, settings.treadle_jwt_jwks_url
        audiences = tuple(settings.treadle_jwt_audience.split())
        _check_that_all_or_none_are_there(issuer or jwks_url, audiences)
        if not audiences:
            return None
        return cls(
            issuer=_usable("TREADLE_JWT_ISSUER", issuer),
            jwks_url=_usable("TREADLE_JWT_JWKS_URL", jwks_url),
            audiences=audiences,
            algorithms=frozenset(_words(settings.treadle_jwt_algorithms)),
            leeway_secs=settings.treadle_jwt_leeway_secs,
            tenant_claim=settings.treadle_jwt_tenant_claim,
            permissions_claim=settings.treadle_jwt_permissions_claim,
            default=tuple(
                each for each in Permission if each in _words(settings.treadle_jwt_default_permissions)
            ),
        )


def problem_with(url: str) -> str | None:
    """Why keys cannot be fetched from an address; None: they can.

    Whoever can change the answer on its way can make tokens, so it has to be https, or never leave this machine.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"it is no URL: {error}"
    if parts.scheme not in {"https", "http"} or not host:
        return "it is no URL that begins with https:// and a host"
    if parts.scheme == "http" and not _is_loopback(host):
        return "keys are fetched over https only, unless they come from this machine"
    if "@" in parts.netloc or parts.fragment:
        return "a user, a password or a fragment has no place in it"
    return None


def _check_that_all_or_none_are_there(source: str, audiences: tuple[str, ...]) -> None:
    if source and not audiences:
        raise ConfigError(
            "TREADLE_JWT_AUDIENCE must be set where tokens are accepted: without it, tokens that the issuer gave out for any "
            "other service would be good here. Set it to the `aud` of your tokens. See docs/auth.md, Tokens."
        )
    if audiences and not source:
        raise ConfigError(
            "TREADLE_JWT_AUDIENCE is set, but nothing says whose tokens are good: set TREADLE_JWT_ISSUER, or "
            "TREADLE_JWT_JWKS_URL. See docs/auth.md, Tokens."
        )


def _usable(name: str, url: str) -> str | None:
    """The address in a setting, None if it is not set. Not shown when it cannot be used, for it may hold a password."""
    if url and (problem := problem_with(url)) is not None:
        raise ConfigError(f"{name} cannot be used: {problem}. See docs/auth.md, Tokens.")
    return url or None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _words(text: str) -> list[str]:
    return re.split(r"[ ,]+", text)
