"""Reads Markdown files as passages that can be quoted by file and line."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# The project that these examples belong to: its README and its docs are the default corpus.
PROJECT = Path(__file__).parents[2]


class CorpusError(ValueError):
    """The corpus does not exist, holds no Markdown, or lies outside the folder that may be read."""


class Passage(NamedTuple):
    """A block of text between blank lines, and where it stands."""

    file: str
    line: int
    heading: str
    text: str


def read_passages(corpus: str | None) -> list[Passage]:
    """All passages of a folder below the root, or of the project's own documentation.

    The root is RESEARCH_ROOT, by default the project. Whoever may start a run names the folder: without a
    root they could have any file of the server quoted to them.
    """
    root = Path(os.environ.get("RESEARCH_ROOT", PROJECT)).resolve()
    files = _documentation(root) if corpus is None else _markdown_below(_folder(root, corpus))
    if not files:
        raise CorpusError(f"No Markdown file in {corpus or root}: set `corpus` to a folder that has some.")
    return [passage for file in files for passage in passages(file.relative_to(root).as_posix(), _text(file))]


def passages(file: str, markdown: str) -> Iterator[Passage]:
    """The blocks of one file, each with the heading above it; blocks of code are left out."""
    heading, block, fenced = "", list[str](), False
    for number, line in enumerate([*markdown.splitlines(), ""], start=1):
        is_fence = line.lstrip().startswith("```")
        is_heading = line.startswith("#") and not fenced
        is_prose = bool(line.strip()) and not (is_fence or is_heading or fenced)
        if is_prose:
            block.append(line)
        elif block:
            if not all(text.startswith("    ") for text in block):
                yield Passage(file, number - len(block), heading, "\n".join(block))
            block = []
        if is_heading:
            heading = line.lstrip("#").strip()
        fenced ^= is_fence


def _documentation(root: Path) -> list[Path]:
    readme = root / "README.md"
    return [*([readme] if readme.is_file() else []), *_markdown_below(root / "docs")]


def _folder(root: Path, corpus: str) -> Path:
    folder = (root / corpus).resolve()
    if not folder.is_relative_to(root):
        raise CorpusError(
            f"The corpus {corpus!r} lies outside {root}. Set RESEARCH_ROOT on the server to allow it."
        )
    if not folder.is_dir():
        raise CorpusError(f"The corpus {corpus!r} is not a folder below {root}.")
    return folder


def _markdown_below(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*.md"))
    return [
        file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
