"""An issuer of tokens: real keys, and a real HTTP server that publishes them as OpenID Connect providers do."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

WAIT_SECS = 20.0
DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/keys"
AUDIENCE = "treadle-of-acme"


@cache
def private_key(algorithm: str, number: int = 0) -> Any:
    """One key of a kind; made once, for RSA's take long."""
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        return ec.generate_private_key({"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}[algorithm])
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: Any, algorithm: str, **more: Any) -> dict[str, Any]:
    """The public half of a key, as a JSON Web Key."""
    said: dict[str, Any] = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    said.pop("key_ops", None)
    return {**said, **more}


class TestIssuer:
    """Signs tokens, and answers who asks for its keys; `answers` has other answers for some paths.

    `held`: cleared, it keeps all answers back.
    """

    __test__ = False

    def __init__(self) -> None:
        self.port = 0
        self.keys: list[dict[str, Any]] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: Counter[str] = Counter()
        self.held = asyncio.Event()
        self.held.set()
        self._grown = asyncio.Condition()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def publishes(self, kid: str, algorithm: str = "RS256", number: int = 0, **more: Any) -> None:
        self.keys.append(jwk(private_key(algorithm, number), algorithm, kid=kid, **more))

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good token, changed; None takes one away."""
        now = time.time()
        made = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600, **changes}
        return {name: value for name, value in made.items() if value is not None}

    def token(
        self, kid: str | None = "one", algorithm: str = "RS256", number: int = 0, **changes: Any
    ) -> str:
        headers = None if kid is None else {"kid": kid}
        return jwt.encode(
            self.claims(**changes), private_key(algorithm, number), algorithm=algorithm, headers=headers
        )

    async def got(self, path: str, count: int) -> None:
        """Wait until a path has been asked for so many times."""
        async with asyncio.timeout(WAIT_SECS), self._grown:
            await self._grown.wait_for(lambda: self.asked[path] >= count)

    async def open(self) -> None:
        """Begin to answer; at the port of the last time, if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode()
            async with self._grown:
                self.asked[path] += 1
                self._grown.notify_all()
            await self.held.wait()
            status, body = self._answer(path)
            writer.write(
                b"HTTP/1.1 %d -\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
            )
            writer.write(body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def _answer(self, path: str) -> tuple[int, bytes]:
        if path in self.answers:
            return self.answers[path]
        if path == DISCOVERY:
            return 200, json.dumps({"issuer": self.url, "jwks_uri": self.url + JWKS}).encode()
        return (200, json.dumps({"keys": self.keys}).encode()) if path == JWKS else (404, b"")


@asynccontextmanager
async def open_issuer() -> AsyncGenerator[TestIssuer]:
    """One that publishes the key `one`."""
    issuer = TestIssuer()
    issuer.publishes("one")
    await issuer.open()
    try:
        yield issuer
    finally:
        issuer.held.set()
        await issuer.close()
