"""Fetches the public keys of whoever issues tokens."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httpx
import msgspec

from treadle import json
from treadle.errors import Unavailable
from treadle.identity.asymmetric import PublicKey, public_keys
from treadle.identity.token_rules import problem_with

FETCH_SECS = 5.0
# Not compressed: a few bytes could become very many.
HEADERS = {"accept": "application/json", "accept-encoding": "identity"}
MAX_DOCUMENT_BYTES = 1 << 20
# OpenID Connect Discovery 1.0, 4.
DISCOVERY = "/.well-known/openid-configuration"


class Issuer:
    """Knows where the keys are.

    Args:
        url: of the issuer, as in `iss`.
        jwks_url: of its keys; None: what its discovery says.
    """

    def __init__(self, url: str | None, jwks_url: str | None) -> None:
        self._url = url
        self._jwks_url = jwks_url
        # Made once: it reads hundreds of certificates.
        self._ssl_context = httpx.create_ssl_context()

    async def keys(self) -> list[PublicKey]:
        """Its keys now, one at least.

        Raises:
            Unavailable: they cannot be had; the message says why.
        """
        try:
            async with asyncio.timeout(FETCH_SECS), httpx.AsyncClient(verify=self._ssl_context) as client:
                found = public_keys(await _document(client, self._jwks_url or await self._discovered(client)))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
            raise self._failure(_brief(error)) from error
        if not found:
            raise self._failure("there is none among them that can verify tokens")
        return found

    async def _discovered(self, client: httpx.AsyncClient) -> str:
        """Where the issuer says that its keys are."""
        issuer = self._url or ""
        try:
            said = json.decode(await _document(client, issuer.rstrip("/") + DISCOVERY))
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f"its configuration is not JSON: {error}") from error
        about = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        if about.get("issuer") != issuer:
            raise ValueError(
                f"its configuration is that of {about.get('issuer')!r}, and its name must be the same to the letter"
            )
        url = str(about.get("jwks_uri"))
        if (problem := problem_with(url)) is not None:
            raise ValueError(f"its `jwks_uri` cannot be used: {problem}")
        return url

    def _failure(self, problem: str) -> Unavailable:
        where = self._jwks_url or self._url
        return Unavailable(f"The keys of the tokens' issuer could not be fetched ({where}): {problem}.")


def _brief(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {FETCH_SECS:g} s"
    name = f"{type(error).__name__}: " if isinstance(error, httpx.HTTPError) else ""
    return f"{name}{error}".rstrip(".: ")[:300]


async def _document(client: httpx.AsyncClient, url: str) -> bytes:
    """What an address answers. A redirection is none: it could lead away from https."""
    read = bytearray()
    async with client.stream("GET", url, headers=HEADERS) as response:
        if response.status_code != 200:
            raise ValueError(f"{url} answered {response.status_code}")
        async for part in response.aiter_bytes():
            read += part
            if len(read) > MAX_DOCUMENT_BYTES:
                raise ValueError(f"{url} answered more than {MAX_DOCUMENT_BYTES} bytes")
    return bytes(read)
