"""What turns text into vectors for the store."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from treadle.errors import ConfigError, EmbeddingFailed
from treadle.graphs.config import Config
from treadle.graphs.storage import StoreIndex
from treadle.store.embedding import make_embeddings
from treadle.store.lexical import LexicalEmbeddings

TEXTS = ["Cats sleep most of the day.", "A loom weaves threads into cloth.", "Der Webstuhl webt Tuch."]


def near(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_the_local_embedding_brings_like_wording_together() -> None:
    local = LexicalEmbeddings()
    vectors = local.embed_documents(TEXTS)

    for query, best in (("sleeping cats", 0), ("weaving on looms", 1), ("webstühle, tücher", 2)):
        scores = [near(local.embed_query(query), vector) for vector in vectors]
        assert max(range(3), key=scores.__getitem__) == best


def test_the_local_embedding_is_the_same_everywhere() -> None:
    vector = LexicalEmbeddings(4).embed_query("loom")

    assert vector == pytest.approx([0.8427, 0.2408, 0, -0.4815], abs=1e-4)
    assert math.sqrt(near(vector, vector)) == pytest.approx(1)
    assert LexicalEmbeddings(4).embed_query("…") == [0, 0, 0, 0]


def given(folder: Path, code: str) -> Config:
    (folder / "embed.py").write_text(code, encoding="utf-8")
    return Config(folder / "langgraph.json", {}, (folder,), {})


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_function_of_ones_own(tmp_path: Path, kind: str) -> None:
    config = given(tmp_path, f"{kind} embed(texts): return [[len(text), 1] for text in texts]")
    embeddings = make_embeddings(config, StoreIndex(embed="./embed.py:embed", dims=2))

    assert await embeddings.aembed_documents(["a", "bcd"]) == [[1.0, 1.0], [3.0, 1.0]]
    assert await embeddings.aembed_query("ab") == [2.0, 1.0]


@pytest.mark.parametrize(
    "body", ["return [[1, 2, 3] for _ in texts]", "return []", "raise OSError('no quota')"]
)
async def test_what_goes_wrong_in_it_is_told(tmp_path: Path, body: str) -> None:
    config = given(tmp_path, f"def embed(texts): {body}")
    embeddings = make_embeddings(config, StoreIndex(embed="./embed.py:embed", dims=2))

    with pytest.raises(EmbeddingFailed, match=r"store\.index\.embed.*(dims|no quota)"):
        await embeddings.aembed_documents(["a"])


@pytest.mark.parametrize(
    ("embed", "code", "told"),
    [
        ("./embed.py:missing", "", "no attribute 'missing'"),
        ("./embed.py:number", "number = 1", "must be a function"),
        ("./embed.py:any", "import nowhere", "nowhere"),
        ("openai:text-embedding-3-small", "", "pip install langchain langchain-openai"),
    ],
)
def test_an_embedding_that_cannot_be_made_is_named(tmp_path: Path, embed: str, code: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.index\.embed") as raised:
        make_embeddings(given(tmp_path, code), StoreIndex(embed=embed, dims=2))
    assert told in str(raised.value)
