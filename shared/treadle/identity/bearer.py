"""Where a request carries its credentials."""

from __future__ import annotations

from collections.abc import Mapping

API_KEY_HEADER = "x-api-key"
# What every API key begins with, and no token does: their first characters tell them apart.
API_KEY_PREFIX = "treadle_"


def api_key(headers: Mapping[str, str]) -> str | None:
    """The text that stands where an API key does; None: there is none.

    Public clients send `x-api-key` for other products by themselves, so one that does not begin as ours do is nobody's business.

    Args:
        headers: by name, in small letters.
    """
    given = (headers.get(API_KEY_HEADER, "").strip(), _bearer(headers))
    return next((text for text in given if text.startswith(API_KEY_PREFIX)), None)


def token(headers: Mapping[str, str]) -> str | None:
    """The bearer token that is no API key; None: there is none."""
    text = _bearer(headers)
    return None if not text or text.startswith(API_KEY_PREFIX) else text


def _bearer(headers: Mapping[str, str]) -> str:
    """RFC 6750: what follows the scheme, whose name may be written in letters of any size."""
    scheme, _, credential = headers.get("authorization", "").strip().partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""
