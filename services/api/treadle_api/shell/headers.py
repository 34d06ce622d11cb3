"""Request headers that are let through: into the config of runs, and into logs."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from treadle.graphs.http import HeaderPatterns, Http
from treadle.identity import PREFIX
from treadle.telemetry.logs import bind

# Credentials: a pattern does not reach them, only their name does.
WITHHELD = frozenset(
    {
        "authorization",
        "cookie",
        "proxy-authorization",
        "treadle-identity",
        "x-api-key",
        "x-service-key",
        "x-tenant-id",
    }
)

Raw = Iterable[tuple[bytes, bytes]]


def as_http(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers of another protocol as HTTP has them, which knows no characters beyond Latin-1."""
    return [
        (name.encode("latin-1", "replace"), text.encode("latin-1", "replace"))
        for name, text in headers.items()
    ]


class Chosen:
    """The headers that some patterns let through."""

    def __init__(self, patterns: HeaderPatterns | None) -> None:
        given = patterns or HeaderPatterns()
        self._wanted = [pattern.lower() for pattern in given.wanted]
        self._unwanted = [pattern.lower() for pattern in given.unwanted]

    @property
    def any(self) -> bool:
        """Whether they let any header through."""
        return bool(self._wanted)

    def of(self, headers: Raw) -> dict[str, str]:
        """By name, in small letters; one that comes several times is joined with commas."""
        if not self._wanted:
            return {}
        found: dict[str, str] = {}
        for raw, value in headers:
            name = raw.decode("latin-1").lower()
            if self._lets_through(name):
                text = value.decode("latin-1")
                found[name] = f"{found[name]}, {text}" if name in found else text
        return found

    def _lets_through(self, name: str) -> bool:
        if name.startswith(PREFIX) or any(_fits(name, pattern) for pattern in self._unwanted):
            return False
        return name in self._wanted or (
            name not in WITHHELD and any(_fits(name, pattern) for pattern in self._wanted)
        )


def _fits(name: str, pattern: str) -> bool:
    """`*` is the only character with a meaning of its own."""
    return fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


class RequestHeaders(ASGIMiddleware):
    """Keeps the headers of the request that is being served, for whoever makes a run of it."""

    def __init__(self, http: Http) -> None:
        self._configurable = Chosen(http.configurable_headers)
        self._logged = Chosen(http.logging_headers)
        self._wanted = self._configurable.any or self._logged.any
        self._now: ContextVar[dict[str, str] | None] = ContextVar("configurable_headers", default=None)

    def configurable(self) -> dict[str, str]:
        """What the runs of this request get in their config."""
        return dict(self._now.get() or {})

    @contextmanager
    def heard(self, headers: Raw) -> Generator[None]:
        """Serve a request in this block."""
        given = list(headers)
        token = self._now.set(self._configurable.of(given))
        try:
            with bind(**self._logged.of(given)):
                yield
        finally:
            self._now.reset(token)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if not self._wanted:
            await next_app(scope, receive, send)
            return
        with self.heard(scope["headers"]):
            await next_app(scope, receive, send)
