"""Which web pages may speak the protocol: its specification has servers check `Origin`.

A page that makes its own name resolve to this server's address (DNS rebinding) could otherwise call tools behind a
firewall, or on the machine of whoever reads it. Programs other than browsers send no `Origin`.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from treadle.errors import Forbidden
from treadle.graphs.http import Cors

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Origins:
    """Pages of this machine, and those that `http.cors` of langgraph.json allows."""

    def __init__(self, cors: Cors | None) -> None:
        self._named = frozenset(cors.allow_origins if cors else ())
        self._pattern = re.compile(cors.allow_origin_regex) if cors and cors.allow_origin_regex else None

    def check(self, origin: str | None) -> None:
        """Let a request pass.

        Raises:
            Forbidden: it comes from a page that is not allowed.
        """
        if origin is not None and not self._allowed(origin):
            raise Forbidden(
                f"Origin: pages of {origin[:128]!r} may not use this endpoint. Name it in `http.cors.allow_origins` of "
                "langgraph.json if they should."
            )

    def _allowed(self, origin: str) -> bool:
        if origin in self._named or "*" in self._named:
            return True
        if self._pattern is not None and self._pattern.fullmatch(origin):
            return True
        try:
            return urlsplit(origin).hostname in LOOPBACK
        except ValueError:
            return False
