"""The network as webhooks may see it: names are resolved here, judged, and connected to by what was judged.

A name that resolves to a public address when it is checked, and to a private one when it is connected to, gets
nowhere: there is one look-up, and the connection goes to its answer. TLS and `Host` keep the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import httpcore

from treadle.webhooks.policy import WebhookPolicy

Resolver = Callable[[str, int], Awaitable[list[str]]]


class AddressRefused(Exception):
    """None of a host's addresses may be connected to; the message says why."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order in which they should be tried.

    Raises:
        OSError: it has none, or nobody can say.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"it is not the name of a host: {error}") from error
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to allowed addresses only."""

    def __init__(self, policy: WebhookPolicy, resolver: Resolver = resolve) -> None:
        self._policy = policy
        self._resolver = resolver
        self._network = cast(httpcore.AsyncNetworkBackend, httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first allowed address that answers.

        Raises:
            AddressRefused: no address of the host is allowed.
            httpcore.ConnectError: the host cannot be resolved, or none of its addresses answers.
        """
        failure: Exception | None = None
        for address in await self._allowed(host, port):
            try:
                return await self._network.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    async def _allowed(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self._resolver(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error.strerror or error}") from error
        refusals = {address: self._policy.refusal(address) for address in addresses}
        allowed = [address for address, refusal in refusals.items() if refusal is None]
        if refusals and not allowed:
            raise AddressRefused("; ".join(refusal for refusal in refusals.values() if refusal))
        return allowed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
