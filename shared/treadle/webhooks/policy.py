"""Where webhooks may go. A URL comes from a client: it must not make the server call into its own network.

A URL is judged when a run asks for it, as far as can be told from it; an address, when it is connected to.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

import httpx

from treadle.errors import ConfigError, InvalidRequest
from treadle.graphs.config import Config
from treadle.graphs.webhooks import UrlRules
from treadle.settings import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL_LENGTH = 8192
MAX_PORT = 65535
DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
# RFC 6052: an IPv4 address at the end of an IPv6 one.
NAT64 = IPv6Network("64:ff9b::/96")
# RFC 4291: what else begins otherwise is nobody's public address, such as an IPv4 address behind zeros, or after `ffff:0`.
GLOBAL_UNICAST = IPv6Network("2000::/3")
# Azure's machines find what it keeps for them at a public address.
CLOUD = IPv4Address("168.63.129.16")
# How `inet_aton` takes addresses: 127.1, 0x7f.1, 2130706433.
NUMBERS = re.compile(r"[0-9a-fx.]+")
# RFC 1035, in characters.
MAX_NAME, MAX_LABEL = 253, 63


class WebhookPolicy:
    """What langgraph.json and the settings allow.

    Args:
        networks: addresses that may be called although they are not public.
    """

    def __init__(self, rules: UrlRules | None, networks: Sequence[Network] = ()) -> None:
        self._rules = rules or UrlRules(require_https=False)
        self._networks = (*networks, *(() if self._rules.disable_loopback else LOOPBACK))

    @classmethod
    def of(cls, config: Config, settings: Settings) -> Self:
        """Where webhooks may go.

        Raises:
            ConfigError: TREADLE_WEBHOOK_ALLOWED_NETWORKS cannot be used.
        """
        return cls(config.webhooks.url, networks(settings.treadle_webhook_allowed_networks))

    def check(self, text: str) -> None:
        """Refuse a URL of which one can tell that it must not be called.

        Raises:
            InvalidRequest: says why.
        """
        most = self._rules.max_url_length or MAX_URL_LENGTH
        if len(text) > most:
            raise _refused(f"the URL is longer than {most} characters")
        url = _parsed(text)
        self._check_scheme(url)
        self._check_host(url)
        port = DEFAULT_PORTS[url.scheme] if url.port is None else url.port
        if not 0 < port <= MAX_PORT:
            raise _refused(f"there is no port {port}")
        if self._rules.allowed_ports and port not in self._rules.allowed_ports:
            raise _refused(f"port {port} is not among those that `webhooks.url.allowed_ports` allows")

    def refusal(self, text: str) -> str | None:
        """Why an address must not be connected to; None if it may be."""
        for address in _meant(ip_address(text)):
            kind = _kind(address)
            if kind is not None and not any(address in network for network in self._networks):
                return f"{text} is {kind}, which TREADLE_WEBHOOK_ALLOWED_NETWORKS does not allow"
        return None

    def _check_scheme(self, url: httpx.URL) -> None:
        if not url.scheme and not url.host:
            raise _refused(
                "a relative URL cannot be called; send an absolute one, with the host of the API in it"
            )
        if url.scheme not in DEFAULT_PORTS or not url.host:
            raise _refused("it must be an absolute URL that begins with http:// or https://")
        if self._rules.require_https and url.scheme != "https":
            raise _refused("`webhooks.url.require_https` of langgraph.json asks for https://")

    def _check_host(self, url: httpx.URL) -> None:
        host = url.host.rstrip(".").lower()
        domains = self._rules.allowed_domains
        if domains and not any(_matches(host, domain.lower()) for domain in domains):
            raise _refused(f"{host} is not among the hosts that `webhooks.url.allowed_domains` allows")
        literal = _literal(host)
        if literal is None and not _is_name(host):
            raise _refused(f"{host} is not the name of a host")
        if literal is not None and (reason := self.refusal(literal)):
            raise _refused(reason)


def networks(text: str) -> list[Network]:
    """The networks that a setting names, separated by commas.

    Raises:
        ConfigError: one of them is none.
    """
    try:
        return [ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ConfigError(
            f"TREADLE_WEBHOOK_ALLOWED_NETWORKS cannot be used: {error}. Write networks such as 127.0.0.0/8, "
            "separated by commas. See docs/webhooks.md."
        ) from error


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"webhook: {reason}. See docs/webhooks.md.")


def _parsed(text: str) -> httpx.URL:
    try:
        return httpx.URL(text)
    except httpx.InvalidURL:
        # Its text may hold what stands where a port should: part of a password.
        raise _refused(
            "it is not a URL; in a user's name or password write `@ : / ? # [ ] %` as %40 %3A %2F %3F %23 %5B %5D %25"
        ) from None


def _matches(host: str, pattern: str) -> bool:
    """Whether it is that host, or, for `*.example.com`, below it."""
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _literal(host: str) -> str | None:
    """The address that a host is without asking anybody; None for a name."""
    if host == "localhost" or host.endswith(".localhost"):
        return "127.0.0.1"
    try:
        return str(ip_address(host))
    except ValueError:
        return _numeric(host)


def _numeric(host: str) -> str | None:
    """What every resolver takes for an IPv4 address without asking anybody, however it is written."""
    if not NUMBERS.fullmatch(host):
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _is_name(host: str) -> bool:
    labels = host.split(".")
    return len(host) <= MAX_NAME and "%" not in host and all(0 < len(label) <= MAX_LABEL for label in labels)


def _meant(address: Address) -> Iterator[Address]:
    """The address, and those that it stands for: an IPv4 address can hide in an IPv6 one."""
    if isinstance(address, IPv4Address):
        yield address
        return
    inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in NAT64:
        inside.append(IPv4Address(int(address) & 0xFFFFFFFF))
    yield from (each for each in inside if each is not None)
    if address.ipv4_mapped is None:
        yield address


def _kind(address: Address) -> str | None:
    """What an address is that is not public."""
    kinds = {
        "a loopback address": address.is_loopback,
        "a link-local address": address.is_link_local,
        "an unspecified address": address.is_unspecified,
        "a multicast address": address.is_multicast,
        "the address of a cloud's own services": address == CLOUD,
        "a private or reserved address": not _is_public(address),
    }
    return next((kind for kind, it_is in kinds.items() if it_is), None)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global
    # What an address of a translator stands for is judged by itself.
    return address in NAT64 or (address in GLOBAL_UNICAST and address.is_global)
