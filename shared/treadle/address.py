"""Addresses of servers as they may be shown: in logs, in answers, on the terminal."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

# Between addresses. A comma alone may be part of a password.
BETWEEN = re.compile(r",\s*(?=[a-z][a-z0-9+.-]*://)")
# Their lone credential is a token, not a user's name.
NATS_SCHEMES = frozenset({"nats", "tls", "ws", "wss"})


def without_password(url: str) -> str:
    """The address, or the addresses between commas, as they may be shown."""
    return ",".join(_one_without_password(part.strip()) for part in BETWEEN.split(url))


def _one_without_password(url: str) -> str:
    parts = _parts(url)
    if parts is None:
        return f"{url.partition('://')[0]}://***"
    credentials, at, host = parts.netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    if colon:
        credentials = f"{user}:***"
    elif credentials and parts.scheme in NATS_SCHEMES:
        credentials = "***"
    # A password may also stand among the parameters (`?password=`): only the place of a socket is shown.
    query = "&".join(item for item in parts.query.split("&") if item.startswith("host="))
    return urlunsplit((parts.scheme, f"{credentials}{at}{host}", parts.path, query, ""))


def _parts(url: str) -> SplitResult | None:
    """None: the password has signs in it that had to be escaped, and may be anywhere in the parts."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    behind = (
        f"{parts.path}{parts.fragment}"
        if "@" in parts.netloc
        else f"{parts.path}{parts.fragment}{parts.query}"
    )
    return None if "@" in behind else parts
