"""The `http` section of langgraph.json: an app of the user's own, switches, CORS, headers, the mount."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from treadle.errors import ConfigError

PREFIX = re.compile(r"^(/[A-Za-z0-9._~-]+)+/?$")


class Cors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pages of other origins may use the API from a browser. What is left out fits the public clients."""

    allow_origins: tuple[str, ...] = ()
    allow_origin_regex: str | None = None
    allow_methods: tuple[str, ...] = ("*",)
    allow_headers: tuple[str, ...] = ("*",)
    allow_credentials: bool = False
    expose_headers: tuple[str, ...] = (
        "content-location",
        "location",
        "x-pagination-next",
        "x-pagination-total",
    )
    max_age: int = 600


class HeaderPatterns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names of request headers, `*` for any characters; what is excluded is not included.

    The documentation of the protocol has both spellings of the keys.
    """

    includes: list[str] | None = None
    excludes: list[str] | None = None
    include: list[str] | None = None
    exclude: list[str] | None = None

    @property
    def wanted(self) -> list[str]:
        return [*(self.includes or ()), *(self.include or ())]

    @property
    def unwanted(self) -> list[str]:
        return [*(self.excludes or ()), *(self.exclude or ())]


class Http(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section as it is written."""

    app: str | None = None
    disable_assistants: bool = False
    disable_threads: bool = False
    disable_runs: bool = False
    disable_store: bool = False
    disable_mcp: bool = False
    disable_a2a: bool = False
    disable_meta: bool = False
    disable_ui: bool = False
    disable_webhooks: bool = False
    cors: Cors | None = None
    configurable_headers: HeaderPatterns | None = None
    logging_headers: HeaderPatterns | None = None
    mount_prefix: str = ""
    middleware_order: Literal["auth_first", "middleware_first"] | None = None
    enable_custom_route_auth: bool = False


def checked(http: Http, path: Path) -> Http:
    """The section, if what it says can be done.

    Args:
        path: of langgraph.json, for the error.

    Raises:
        ConfigError: names the key, the problem and the way out.
    """
    if http.mount_prefix and not PREFIX.match(http.mount_prefix):
        raise ConfigError(
            f"{path}: `http.mount_prefix` is {http.mount_prefix!r}: write a path like '/api', of letters, digits "
            "and '-._~'."
        )
    if http.cors is not None and http.cors.allow_origin_regex is not None:
        try:
            re.compile(http.cors.allow_origin_regex)
        except re.error as error:
            raise ConfigError(
                f"{path}: `http.cors.allow_origin_regex` is no regular expression: {error}."
            ) from error
    return http
