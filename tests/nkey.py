"""Seeds of NATS users, and what an operator of NATS signs about accounts and users."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# https://github.com/nats-io/nkeys: prefixes are five bits.
SEED, OPERATOR, ACCOUNT, USER = 18, 14, 0, 20


@dataclass(frozen=True)
class Nkey:
    """A key of NATS, and what it is for."""

    kind: int
    key: Ed25519PrivateKey

    @classmethod
    def new(cls, kind: int = USER) -> Nkey:
        return cls(kind, Ed25519PrivateKey.generate())

    @classmethod
    def of(cls, seed: str) -> Nkey:
        """The key of a user's seed."""
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
        return cls(USER, Ed25519PrivateKey.from_private_bytes(raw[2:-2]))

    @property
    def seed(self) -> str:
        prefix = (SEED << 11 | self.kind << 6).to_bytes(2)
        return _encoded(prefix + self.key.private_bytes_raw())

    @property
    def public(self) -> str:
        return _encoded(bytes([self.kind << 3]) + self.key.public_key().public_bytes_raw())

    def says(self, about: Nkey, **claims: Any) -> str:
        """A JWT as NATS has it, about another key."""
        body = {"jti": "1", "iat": 1, "iss": self.public, "sub": about.public, "name": "tests"}
        text = ".".join(
            _base64(json.dumps(part).encode())
            for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, {**body, "nats": {**claims, "version": 2}})
        )
        return f"{text}.{_base64(self.key.sign(text.encode()))}"


def creds(jwt: str, user: Nkey) -> str:
    """A .creds file, as `nsc generate creds` writes it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )


def _encoded(raw: bytes) -> str:
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
