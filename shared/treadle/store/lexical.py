"""A small embedding that needs no model and no key: text as counts of its words and of the letters in them, hashed.

It measures how much two texts share in wording ("planted", "planting" and "plants" are near each other), not what they
mean: it finds nothing by synonyms. Good for development, tests, and searching notes by the words in them. The method is
feature hashing (Weinberger et al., 2009) with signs, over words and character trigrams.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

from langchain_core.embeddings import Embeddings

DIMS = 512
WORD = re.compile(r"\w+")
TRIGRAM_WEIGHT = 0.4
# Words this short (the, of, and) are in every text.
SHORT, SHORT_WEIGHT = 3, 0.2


class LexicalEmbeddings(Embeddings):
    """The same text gives the same vector on every machine and in every version of Python.

    Args:
        dims: the length of the vectors; fewer means more words that are taken for each other.
    """

    def __init__(self, dims: int = DIMS) -> None:
        self._dims = dims

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._vector(text)

    def _vector(self, text: str) -> list[float]:
        """A vector of length 1; zeros for text without words."""
        vector = [0.0] * self._dims
        for feature, weight in _features(text).items():
            digest = int.from_bytes(blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest())
            place, sign = divmod(digest, 2)
            vector[place % self._dims] += weight if sign else -weight
        length = math.sqrt(sum(number * number for number in vector))
        return [number / length for number in vector] if length else vector


def _features(text: str) -> dict[str, float]:
    """The words of a text and the trigrams of their letters, weighted; what comes often counts a little more."""
    words = Counter(WORD.findall(unicodedata.normalize("NFKC", text).casefold()))
    features: dict[str, float] = {}
    for word, count in words.items():
        weight = (1 + math.log(count)) * (SHORT_WEIGHT if len(word) <= SHORT else 1)
        features[word] = features.get(word, 0) + weight
        for trigram in _trigrams(word):
            features[trigram] = features.get(trigram, 0) + weight * TRIGRAM_WEIGHT
    return features


def _trigrams(word: str) -> Iterable[str]:
    """With the edges marked, so that beginnings and ends count as such, and none is taken for a word."""
    edged = f"<{word}>"
    return (f"#{edged[start : start + 3]}" for start in range(len(edged) - 2))
