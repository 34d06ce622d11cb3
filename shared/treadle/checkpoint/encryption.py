"""Checkpoints at rest: with LANGGRAPH_AES_KEY nothing of a state is readable in the checkpoint tables.

Values are encrypted as langgraph's EncryptedSerializer does it, so its savers read them with the same key. They keep text, numbers
and the like in the checkpoint's own JSON, unencrypted, to save a row; here those go where all other values are, among the blobs.
Readers look there for every version of a channel anyway. What was written before there was a key stays readable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Self, TypeVar, cast

from langgraph.checkpoint.base import ChannelVersions, Checkpoint
from langgraph.checkpoint.serde.base import CipherProtocol, SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from treadle.errors import ConfigError, EncryptionFailed

T = TypeVar("T")

KEY_BYTES = (16, 24, 32)


class Sealed(NamedTuple):
    """A value that goes among the blobs, whatever it is."""

    value: Any


class Waiting(CipherProtocol):
    """A cipher that has to be waited for: not on the event loop, if that can be."""


class AesCipher(CipherProtocol):
    """Langgraph's cipher: AES in EAX mode, the nonce and the tag before the text."""

    @classmethod
    def of(cls, key: str) -> Self:
        """As LANGGRAPH_AES_KEY says. Raises ConfigError."""
        if len(key.encode()) not in KEY_BYTES:
            raise ConfigError(
                f"LANGGRAPH_AES_KEY has {len(key.encode())} bytes: it must have 16, 24 or 32, for AES-128, AES-192 or AES-256."
            )
        return cls(key.encode())

    def __init__(self, key: bytes) -> None:
        self._inner = EncryptedSerializer.from_pycryptodome_aes(key=key).cipher

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return self._inner.encrypt(plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        try:
            return self._inner.decrypt(ciphername, ciphertext)
        except (ValueError, AssertionError) as error:
            raise EncryptionFailed(
                "A checkpoint cannot be decrypted: it was written with another key, or changed since. "
                "Set LANGGRAPH_AES_KEY to the key that it was written with."
            ) from error


def serializer(key: str, plain: SerializerProtocol) -> SerializerProtocol:
    """What makes bytes of values and back: encrypted where there is a key.

    Raises:
        ConfigError: the key has the wrong length.
    """
    return EncryptedSerializer(AesCipher.of(key), plain) if key else plain


async def coded(serde: SerializerProtocol, do: Callable[[], T]) -> T:
    """What makes bytes of values or back, done in another thread if that has to be waited for."""
    if isinstance(serde, EncryptedSerializer) and isinstance(serde.cipher, Waiting):
        return await asyncio.to_thread(do)
    return do()


def sealed(
    serde: SerializerProtocol, checkpoint: Checkpoint, versions: ChannelVersions
) -> tuple[Checkpoint, ChannelVersions]:
    """A checkpoint as it is written, and the versions of channels of which there may be no blob yet.

    A value that is not new may be in no blob: it was written when there was no key. What is there already stays.
    """
    if not isinstance(serde, EncryptedSerializer):
        return checkpoint, versions
    values = checkpoint["channel_values"]
    small = {name for name, value in values.items() if value is None or isinstance(value, str | int | float)}
    known = checkpoint["channel_versions"]
    return (
        cast(
            Checkpoint,
            {
                **checkpoint,
                "channel_values": {
                    name: Sealed(value) if name in small else value for name, value in values.items()
                },
            },
        ),
        {**versions, **{name: known[name] for name in small}},
    )


def unsealed(values: dict[str, Any]) -> dict[str, Any]:
    """The values themselves."""
    return {name: value.value if isinstance(value, Sealed) else value for name, value in values.items()}
