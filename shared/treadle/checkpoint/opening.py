"""What makes bytes of values and back, as langgraph.json and the settings say."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from langgraph.checkpoint.serde.base import SerializerProtocol

from treadle.checkpoint.encryption import serializer
from treadle.checkpoint.serde import serializer_of
from treadle.graphs.config import Config


@asynccontextmanager
async def open_serializer(config: Config, aes_key: str) -> AsyncGenerator[SerializerProtocol]:
    """The serialiser, encrypting where a key or handlers are given. Raises ConfigError."""
    plain = serializer_of(config)
    if config.encryption is None:
        yield serializer(aes_key, plain)
        return
    from treadle.checkpoint.handlers import open_handlers  # noqa: PLC0415 - where it is asked for only

    async with open_handlers(config, config.encryption, aes_key, plain) as serde:
        yield serde
