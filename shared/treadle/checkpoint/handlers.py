"""Encryption of the user's own: the blob handlers of the `Encryption` object that langgraph.json names.

Handlers are coroutines, and serialisers are not. So handlers run on an event loop in a thread of their own, whoever waits for them:
the savers' own methods wait in another thread, and the process goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from langgraph.checkpoint.serde.base import CipherProtocol, SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph_sdk import Encryption, EncryptionContext
from langgraph_sdk.encryption.types import DecryptResult

from treadle.checkpoint.encryption import AesCipher, Waiting
from treadle.errors import ConfigError, EncryptionFailed
from treadle.graphs.config import Config
from treadle.graphs.loader import named

# What the types of values say besides the serialiser's own, as `msgpack+custom`.
NAME = "custom"
# Of one value: a key may have to be fetched over the network.
SECS = 30.0

Handler = Callable[[EncryptionContext, bytes], Awaitable[bytes | DecryptResult[bytes]]]


class HandlerCipher(Waiting):
    """The handlers as a cipher.

    Args:
        older: decrypts what was written before there were handlers.
    """

    def __init__(
        self, encrypt: Handler, decrypt: Handler, where: str, older: CipherProtocol | None = None
    ) -> None:
        self._encrypt, self._decrypt, self._where, self._older = encrypt, decrypt, where, older
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="encryption", daemon=True)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[HandlerCipher]:
        """Be ready for as long as the block lasts."""
        self._thread.start()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(self._thread.join)
            self._loop.close()

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return NAME, self._done(self._encrypt, plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        if ciphername == NAME:
            return self._done(self._decrypt, ciphertext)
        if self._older is None:
            raise EncryptionFailed(
                f"A checkpoint was encrypted by {ciphername!r}, which {self._where} does not know. Set LANGGRAPH_AES_KEY "
                "besides, to the key that it was written with."
            )
        return self._older.decrypt(ciphername, ciphertext)

    def _done(self, handler: Handler, data: bytes) -> bytes:
        async def handle() -> bytes | DecryptResult[bytes]:
            async with asyncio.timeout(SECS):
                return await handler(EncryptionContext(model="checkpoint"), data)

        try:
            made = asyncio.run_coroutine_threadsafe(handle(), self._loop).result()
        except Exception as error:
            raise EncryptionFailed(
                f"{self._where}: a handler failed: {type(error).__name__}: {error}"
            ) from error
        return _checked(made.plaintext if isinstance(made, DecryptResult) else made, self._where)


def _checked(made: object, where: str) -> bytes:
    if not isinstance(made, bytes):
        raise EncryptionFailed(f"{where}: a handler returned a {type(made).__name__}, and not bytes.")
    return made


@asynccontextmanager
async def open_handlers(
    config: Config, path: str, key: str, plain: SerializerProtocol
) -> AsyncGenerator[SerializerProtocol]:
    """What makes bytes of values and back, encrypted by the handlers of the object that `encryption.path` names.

    Raises:
        ConfigError: it is no such object, or has handlers that would not be asked, or has none for blobs.
    """
    where = f"{config.path}: `encryption.path` ({path})"
    encrypt, decrypt = _handlers(named(config, path, where), where)
    older = AesCipher.of(key) if key else None
    async with HandlerCipher(encrypt, decrypt, where, older).running() as cipher:
        yield EncryptedSerializer(cipher, plain)


def _handlers(found: object, where: str) -> tuple[Handler, Handler]:
    if not isinstance(found, Encryption):
        raise ConfigError(f"{where} is a {type(found).__name__}: it must be a langgraph_sdk.Encryption.")
    encrypt, decrypt = found._blob_encryptor, found._blob_decryptor  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if encrypt is None or decrypt is None:
        raise ConfigError(f"{where} needs both handlers of blobs: `@encrypt.blob` and `@decrypt.blob`.")
    # Whoever has one of these must not find the data plain.
    if found.get_json_encryptor() or found.get_json_decryptor() or found._context_handler:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        raise ConfigError(
            f"{where} has handlers of JSON or of the context, which are not supported: JSON fields would stay plain. "
            "Take them out; blobs of checkpoints are encrypted without them."
        )
    return encrypt, decrypt
