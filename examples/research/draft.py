"""Drafts an answer out of quotes: extractive, so every sentence of it can be checked at its source."""

import re
from collections.abc import Sequence
from typing import TypedDict

from research.bm25 import Index, words


class Quote(TypedDict):
    """A passage that speaks to the question, and where it stands."""

    file: str
    line: int
    heading: str
    text: str
    score: float


def write_draft(question: str, quotes: Sequence[Quote]) -> str:
    """An answer in Markdown: the telling sentence of each quote, then the sources."""
    points = [
        f"- {telling_sentence(question, quote['text'])} [{n}]" for n, quote in enumerate(quotes, start=1)
    ]
    sources = [f"[{n}] {place(quote)}" for n, quote in enumerate(quotes, start=1)]
    return "\n".join([f"**{question}**", "", *points, "", *sources])


def telling_sentence(question: str, text: str) -> str:
    """The sentence that matches the question best, or else the first one."""
    plain = " ".join(text.split())
    sentences = re.split(r"(?<=[.!?])\s+(?=\S)", plain)
    best = Index(sentences).best(words(question), limit=1)
    return sentences[best[0][0]] if best else sentences[0]


def place(quote: Quote) -> str:
    """Where a quote stands, as an editor can open it: `docs/runs.md:12 (Leases)`."""
    heading = f" ({quote['heading']})" if quote["heading"] else ""
    return f"{quote['file']}:{quote['line']}{heading}"
