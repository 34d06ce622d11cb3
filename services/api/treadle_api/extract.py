"""Paths into a thread: `values.messages[-1].content`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from treadle.db.thread_search import COLUMNS, Column
from treadle.errors import InvalidRequest

ROOTS: tuple[Column, ...] = ("config", "interrupts", "metadata", "values")
ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_paths(extract: Mapping[str, str]) -> dict[str, tuple[Column, list[str]]]:
    """Where the wanted values are: alias -> (column, keys and indices).

    Raises:
        InvalidRequest: an alias is no identifier or the name of a field, or a path begins in no column that has parts.
    """
    return {_alias(alias): _path(alias, path) for alias, path in extract.items()}


def _alias(text: str) -> str:
    if not ALIAS.fullmatch(text):
        raise InvalidRequest(f"extract: the key {text[:64]!r} must be letters, digits and underscores")
    if text in COLUMNS:
        raise InvalidRequest(f"extract: the key {text!r} is the name of a thread's own field; choose another")
    return text


def _path(alias: str, text: str) -> tuple[Column, list[str]]:
    root, *rest = [part for part in re.split(r"[.\[\]]", text) if part] or [""]
    if root not in ROOTS:
        raise InvalidRequest(
            f"extract.{alias}: the path {text[:64]!r} must start with one of: {', '.join(ROOTS)}"
        )
    return root, rest
