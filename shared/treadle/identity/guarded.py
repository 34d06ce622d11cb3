"""Whether requests over HTTP prove who sends them, as the settings and langgraph.json have it."""

from __future__ import annotations

from treadle.graphs.config import Config
from treadle.settings import Settings


def is_guarded(config: Config, settings: Settings) -> bool:
    """Whether there is any way to prove it: then nobody gets in without."""
    has_tokens = bool(settings.treadle_jwt_issuer or settings.treadle_jwt_jwks_url)
    return config.auth.path is not None or settings.treadle_api_keys == "on" or has_tokens
