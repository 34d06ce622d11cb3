"""Accepting the tokens of a test's issuer, as the API does."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from tests.issuer import AUDIENCE, TestIssuer
from treadle import settings
from treadle.identity.caller import Caller
from treadle.identity.key_set import Times
from treadle.identity.token_rules import TokenRules
from treadle.identity.tokens import Tokens

SERVERS = {"DATABASE_URI": "postgresql://h/d", "REDIS_URI": "redis://h", "NATS_URL": "nats://h"}
WAIT_SECS = 20.0


def loaded(**environ: str) -> settings.Settings:
    """Settings whose names begin with TREADLE_JWT_."""
    given = {f"TREADLE_JWT_{name}": value for name, value in environ.items()}
    return settings.load({**SERVERS, **given})


def rules(**environ: str) -> TokenRules:
    made = TokenRules.of(loaded(**{"ISSUER": "https://issuer", "AUDIENCE": AUDIENCE, **environ}))
    assert made is not None
    return made


@asynccontextmanager
async def accepting(issuer: TestIssuer, times: Times | None = None, **environ: str) -> AsyncGenerator[Tokens]:
    """What accepts tokens of an issuer."""
    tokens = Tokens.of(loaded(**{"ISSUER": issuer.url, "AUDIENCE": AUDIENCE, **environ}), times)
    assert tokens is not None
    tokens.start()
    try:
        yield tokens
    finally:
        await tokens.stop()


async def caller(tokens: Tokens, token: str) -> Caller | None:
    async with asyncio.timeout(WAIT_SECS):
        return await tokens.caller({"authorization": f"Bearer {token}"})


def segment(said: Any) -> str:
    """A part of a token."""
    return urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
