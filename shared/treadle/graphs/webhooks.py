"""The `webhooks` section of langgraph.json: headers to send along, and where webhooks may go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from treadle.errors import ConfigError

TEMPLATE = re.compile(r"\$\{\{\s*env\.(\w+)\s*\}\}")
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Decided by each delivery.
OURS = frozenset(
    {"connection", "content-length", "content-type", "host", "transfer-encoding"}
    | {"webhook-id", "webhook-timestamp", "webhook-signature"}
)


class UrlRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where webhooks may go. What is not named is not restricted, but for `require_https`."""

    require_https: bool = True
    allowed_domains: list[str] = []
    allowed_ports: list[Annotated[int, Meta(ge=1, le=65535)]] = []
    max_url_length: Annotated[int, Meta(ge=1)] | None = None
    disable_loopback: bool = True


class WebhooksSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What langgraph.json says about webhooks."""

    env_prefix: Annotated[str, Meta(min_length=1)] = "LG_WEBHOOK_"
    headers: dict[str, str] = {}
    url: UrlRules | None = None


def checked_webhooks(path: Path, section: WebhooksSection) -> WebhooksSection:
    """The section, if its headers can be sent, and name no variable that they must not.

    Raises:
        ConfigError: names the file and the header.
    """
    for name, value in section.headers.items():
        where = f"{path}: `webhooks.headers.{name}`"
        if not HEADER.fullmatch(name) or not value.isprintable():
            raise ConfigError(f"{where}: it is not a header of HTTP, which has one printable line.")
        if name.lower() in OURS:
            raise ConfigError(f"{where}: each delivery has its own; take it out.")
        for variable in TEMPLATE.findall(value):
            if not variable.startswith(section.env_prefix):
                raise ConfigError(
                    f"{where} names {variable}, which does not begin with {section.env_prefix!r}. "
                    "Rename the variable, or set `webhooks.env_prefix`."
                )
        if "${{" in TEMPLATE.sub("", value):
            raise ConfigError(f"{where}: write a template as ${{{{ env.{section.env_prefix}NAME }}}}.")
    return section


def filled_headers(path: Path, section: WebhooksSection, environ: Mapping[str, str]) -> dict[str, str]:
    """The headers with the variables of the environment in their places.

    Raises:
        ConfigError: a variable is not set.
    """
    return {name: _filled(path, name, value, environ) for name, value in section.headers.items()}


def _filled(path: Path, name: str, value: str, environ: Mapping[str, str]) -> str:
    def variable(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise ConfigError(
                f"{path}: `webhooks.headers.{name}` needs {found[1]}, which is not set in the environment."
            )
        return environ[found[1]]

    filled = TEMPLATE.sub(variable, value)
    if not filled.isprintable():
        raise ConfigError(
            f"{path}: `webhooks.headers.{name}`: what its variables hold is not one printable line."
        )
    return filled
