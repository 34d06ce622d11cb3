"""An embedding that takes its time."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.embeddings import Embeddings

from treadle.checkpoint.pool import checkpoint_pool
from treadle.migrate import migrate
from treadle.store import postgres
from treadle.store.postgres import PostgresStore
from treadle.store.vectors import set_up_vectors

ANSWER_SECS = 0.5


class Slow(Embeddings):
    """Takes longer than Postgres may."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        await asyncio.sleep(ANSWER_SECS * 2)
        return self.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        await asyncio.sleep(ANSWER_SECS * 2)
        return self.embed_query(text)


async def test_who_embeds_slowly_is_not_postgres_being_away(
    new_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "COMMAND_TIMEOUT_SECS", ANSWER_SECS)
    await migrate(new_dsn)
    await set_up_vectors(new_dsn, 2)
    async with checkpoint_pool(new_dsn, size=1, service="test") as pool:
        store = PostgresStore(pool, embeddings=Slow(), dims=2)
        await store.aput(("a",), "b", {"text": "word"})
        assert [item.key for item in await store.asearch(("a",), query="word")] == ["b"]
