"""Keys of NATS users: seeds as `nk` and `nsc` write them, and signatures by which a server knows who connects.

A seed is base32 of two bytes of prefixes, 32 bytes of an Ed25519 key, and a CRC-16
(https://github.com/nats-io/nkeys). Imported where a seed is given only: it brings all of cryptography along.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from treadle.errors import ConfigError

SEED = 18 << 3
USER = 20 << 3
_CRC_BYTES = 2


class UserKey:
    """The key of a NATS user.

    Args:
        seed: text that begins with `SU`.
        where: names the setting and the file in errors.

    Raises:
        ConfigError: it is no seed of a user. The text is not shown.
    """

    def __init__(self, seed: str, where: str) -> None:
        try:
            raw = _checked(base64.b32decode(_padded(seed.strip())))
            first, kind = raw[0] & 0b11111000, (raw[0] & 0b111) << 5 | raw[1] >> 3
            self._key = Ed25519PrivateKey.from_private_bytes(raw[2:])
        except (ValueError, IndexError):
            first = kind = 0
        if (first, kind) != (SEED, USER):
            raise ConfigError(
                f"{where} holds no seed of a NATS user, which begins with `SU`. Make one with `nk -gen user`, or have it from "
                "whoever runs NATS."
            )

    @property
    def public(self) -> str:
        """What the server's configuration names the user by; begins with `U`."""
        raw = bytes([USER]) + self._key.public_key().public_bytes_raw()
        return base64.b32encode(raw + _crc(raw)).decode().rstrip("=")

    def sign(self, nonce: str) -> bytes:
        """The signature of what the server says first, in base64."""
        return base64.b64encode(self._key.sign(nonce.encode()))


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 8)


def _checked(raw: bytes) -> bytes:
    key, crc = raw[:-_CRC_BYTES], raw[-_CRC_BYTES:]
    if crc != _crc(key):
        raise ValueError("the checksum is wrong")
    return key


def _crc(data: bytes) -> bytes:
    return binascii.crc_hqx(data, 0).to_bytes(_CRC_BYTES, "little")
