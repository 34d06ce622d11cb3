"""Which ways to prove who asks there are, as the settings and langgraph.json have it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from ipaddress import ip_address

from langgraph_sdk import Auth

from treadle.db.pool import Pool
from treadle.errors import ConfigError
from treadle.graphs.config import Config
from treadle.graphs.loader import named
from treadle.identity.api_keys import ApiKeys
from treadle.identity.caller import Authenticator
from treadle.identity.guarded import is_guarded
from treadle.identity.tokens import Tokens
from treadle.settings import Settings
from treadle_api.access.custom import CustomAuth
from treadle_api.access.proof import Proof
from treadle_api.access.rules import Rules


@asynccontextmanager
async def proving(config: Config, settings: Settings, pool: Pool) -> AsyncGenerator[Proof | None]:
    """How whoever asks has to prove who it is, for as long as the block lasts; None: nobody has to.

    Raises:
        ConfigError: what is set up cannot be used.
    """
    keys, tokens = ApiKeys.of(settings, pool), Tokens.of(settings)
    custom, rules = _custom(config)
    if custom is not None and tokens is not None:
        raise ConfigError(
            f"{config.path} has an `auth.path`, and TREADLE_JWT_* says how to verify tokens: both would have to read the same "
            "header. Take one of the two away. See docs/auth.md."
        )
    builtin: list[Authenticator] = [each for each in (keys, tokens) if each is not None]
    if custom is None and not builtin:
        yield None
        return
    if tokens is not None:
        tokens.start()
    try:
        yield Proof(builtin, custom, rules, config.auth.openapi)
    finally:
        if tokens is not None:
            await tokens.stop()


def check_exposure(config: Config, settings: Settings) -> None:
    """Refuse to serve everybody on the network unless somebody has said in words that they may do everything.

    Raises:
        ConfigError: it would be so; or it is said, and whoever asks has to prove who it is all the same.
    """
    guarded = is_guarded(config, settings)
    if guarded and settings.treadle_auth == "none":
        raise ConfigError(
            "TREADLE_AUTH is `none`, and yet there is a way to prove who asks: `auth` of langgraph.json, TREADLE_API_KEYS or "
            "TREADLE_JWT_*. Take one of the two away. See docs/auth.md."
        )
    if not guarded and settings.treadle_auth == "required" and not _is_loopback(settings.treadle_host):
        raise ConfigError(
            f"TREADLE_HOST is {settings.treadle_host!r}, where others can reach the API, and nobody would have to say who "
            "asks. Set up API keys, tokens or `auth` of langgraph.json, or set TREADLE_AUTH to `none` if whatever stands "
            "before the API lets in only those who may do everything. See docs/auth.md."
        )


def _custom(config: Config) -> tuple[CustomAuth | None, Rules | None]:
    path = config.auth.path
    if path is None:
        return None, None
    where = f"{config.path}: `auth.path` ({path})"
    auth = named(config, path, where)
    if not isinstance(auth, Auth):
        raise ConfigError(f"{where} is a {type(auth).__name__}: it must be a `langgraph_sdk.Auth()`.")
    return CustomAuth(auth, where), Rules(auth)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
