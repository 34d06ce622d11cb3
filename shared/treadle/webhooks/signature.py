"""Signatures as https://www.standardwebhooks.com has them: HMAC-SHA256 over `<id>.<timestamp>.<body>`."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256
from hmac import digest

from treadle.errors import ConfigError

PREFIX = "whsec_"


def secrets(text: str) -> list[bytes]:
    """The keys that a setting holds, separated by spaces: several while one takes the other's place.

    Raises:
        ConfigError: one begins with `whsec_` and is not base64 behind it.
    """
    return [_key(part) for part in text.split()]


def _key(text: str) -> bytes:
    if not text.startswith(PREFIX):
        return text.encode()
    try:
        return b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ConfigError(
            f"TREADLE_WEBHOOK_SECRET cannot be used: behind `{PREFIX}` there must be base64. See docs/webhooks.md."
        ) from error


def signature(keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature per key, separated by spaces."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{b64encode(digest(key, signed, sha256)).decode()}" for key in keys)
