"""BM25, the ranking that most search engines start from (Robertson & Zaragoza, 2009)."""

import math
import re
from collections import Counter
from collections.abc import Sequence

SATURATION = 1.5  # k1: how soon more of the same word stops counting
LENGTH_PENALTY = 0.75  # b: how much long texts are held back

STOP_WORDS = re.compile(
    r"(?:an?|and|are|as|at|be|by|can|does?|for|from|has|have|how|i|if|in|is|its?|me|my|not|of|on|or|so|that|the|their|"
    r"then|there|these|they|this|to|was|we|what|when|where|which|who|why|will|with|your?)"
)
SUFFIX = re.compile(r"(?<=\w{3})(?:ing|ed|es|e|(?<!s)s)$")


def words(text: str) -> list[str]:
    """The words that carry meaning, without their endings: 'Leases are leased' gives ['leas', 'leas']."""
    found = re.findall(r"\w+", text.lower())
    return [SUFFIX.sub("", word) for word in found if not STOP_WORDS.fullmatch(word)]


class Index:
    """Ranks texts by how well they match a query."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(words(text)) for text in texts]
        self._lengths = [counts.total() for counts in self._counts]
        self._mean_length = sum(self._lengths) / max(len(texts), 1) or 1.0
        self._texts_with = Counter(word for counts in self._counts for word in counts)

    def best(self, query: Sequence[str], limit: int) -> list[tuple[int, float]]:
        """Positions and scores of the best texts, best first; texts without any of the words are left out."""
        scores = [(position, self._score(position, query)) for position in range(len(self._counts))]
        matching = [scored for scored in scores if scored[1] > 0]
        return sorted(matching, key=lambda scored: -scored[1])[:limit]

    def _score(self, position: int, query: Sequence[str]) -> float:
        counts = self._counts[position]
        length = self._lengths[position] / self._mean_length
        damping = SATURATION * (1 - LENGTH_PENALTY + LENGTH_PENALTY * length)
        return sum(
            self._rarity(word) * counts[word] * (SATURATION + 1) / (counts[word] + damping)
            for word in query
            if word in counts
        )

    def _rarity(self, word: str) -> float:
        with_word = self._texts_with[word]
        return math.log(1 + (len(self._counts) - with_word + 0.5) / (with_word + 0.5))
