"""Addresses of servers as they may be shown: in logs, in answers, on the terminal."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def without_password(url: str) -> str:
    """The address, or the addresses between commas, as they may be shown."""
    return ",".join(_one_without_password(part.strip()) for part in url.split(","))


def _one_without_password(url: str) -> str:
    parts = urlsplit(url)
    credentials, at, host = parts.netloc.rpartition("@")
    if ":" in credentials:
        credentials = f"{credentials.partition(':')[0]}:***"
    # A password may also stand among the parameters (`?password=`): only the place of a socket is shown.
    query = "&".join(item for item in parts.query.split("&") if item.startswith("host="))
    return urlunsplit((parts.scheme, f"{credentials}{at}{host}", parts.path, query, ""))
