"""`store.index.embed`: what turns text into vectors, made once per process."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings

from treadle.errors import ConfigError, EmbeddingFailed
from treadle.graphs.config import Config
from treadle.graphs.loader import named
from treadle.graphs.storage import LOCAL_EMBED, StoreIndex, is_path
from treadle.store.lexical import DIMS, LexicalEmbeddings

Vectors = list[list[float]]


def dims_of(index: StoreIndex) -> int:
    """The length of the vectors; only the local embedding has one of its own."""
    return index.dims or DIMS


def make_embeddings(config: Config, index: StoreIndex) -> Embeddings:
    """The embeddings that langgraph.json asks for, with what they return checked.

    Raises:
        ConfigError: the function cannot be imported, or the provider's package is not installed.
    """
    where = f"{config.path}: `store.index.embed` ({index.embed})"
    return CheckedEmbeddings(_made(config, index, where), dims_of(index), where)


def _made(config: Config, index: StoreIndex, where: str) -> Embeddings:
    if index.embed == LOCAL_EMBED:
        return LexicalEmbeddings(dims_of(index))
    if not is_path(index.embed):
        return _of_provider(index.embed, where)
    found = named(config, index.embed, where)
    if not (isinstance(found, Embeddings) or callable(found)):
        raise ConfigError(
            f"{where} is a {type(found).__name__}: it must be a function from a list of texts to a list of vectors, "
            "plain or async, or langchain Embeddings."
        )
    return ensure_embeddings(cast("Embeddings", found))


def _of_provider(model: str, where: str) -> Embeddings:
    """`provider:model` by way of langchain, which is no dependency of Treadle: it would bring a lot along."""
    try:
        init = cast(
            "Callable[[str], Embeddings]", importlib.import_module("langchain.embeddings").init_embeddings
        )
    except ImportError as error:
        raise ConfigError(
            f"{where} is a model of a provider, for which langchain is needed: pip install langchain "
            f"langchain-{model.partition(':')[0]}. Without it, name a function, or 'local'."
        ) from error
    try:
        return init(model)
    except Exception as error:
        # The provider's own package is missing, its key is, or it has no such model: it says so.
        raise ConfigError(f"{where} cannot be used: {error}") from error


class CheckedEmbeddings(Embeddings):
    """Embeddings whose vectors are as long as the table's; what goes wrong in them is told apart from the rest."""

    def __init__(self, inner: Embeddings, dims: int, where: str) -> None:
        self._inner = inner
        self._dims = dims
        self._where = where

    async def aembed_documents(self, texts: list[str]) -> Vectors:
        return await self._checked(self._inner.aembed_documents, texts, len(texts))

    async def aembed_query(self, text: str) -> list[float]:
        async def alone(query: str) -> Vectors:
            return [await self._inner.aembed_query(query)]

        return (await self._checked(alone, text, 1))[0]

    def embed_documents(self, texts: list[str]) -> Vectors:
        return self._as_floats(self._inner.embed_documents(texts), len(texts))

    def embed_query(self, text: str) -> list[float]:
        return self._as_floats([self._inner.embed_query(text)], 1)[0]

    async def _checked(self, embed: Callable[[Any], Awaitable[Any]], given: Any, count: int) -> Vectors:
        try:
            return self._as_floats(await embed(given), count)
        except EmbeddingFailed:
            raise
        except Exception as error:
            raise EmbeddingFailed(f"{self._where} failed: {type(error).__name__}: {error}") from error

    def _as_floats(self, vectors: Sequence[Sequence[float]], count: int) -> Vectors:
        lengths = {len(vector) for vector in vectors}
        if len(vectors) != count or lengths - {self._dims}:
            raise EmbeddingFailed(
                f"{self._where} made {len(vectors)} vectors of length {sorted(lengths)} of {count} texts; `store.index.dims` "
                f"says {self._dims}. Correct whichever is wrong."
            )
        return [[float(number) for number in vector] for vector in vectors]
