"""Values of a graph's state, so short that a person can take them in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from treadle.cli.clean import clean
from treadle.cli.happenings import message_text

WIDTH = 80


def fields(value: Any, *, lines: int) -> Iterator[tuple[str, list[str]]]:
    """Each key of an object with its value in at most so many lines; any other value under an empty key."""
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[str, Any]", value).items():
            yield clean(str(key)), brief(item, lines=lines)
    else:
        yield "", brief(value, lines=lines)


def brief(value: Any, *, lines: int) -> list[str]:
    """A value in at most so many lines: texts keep theirs, a long object has one per key, lists are counted."""
    if isinstance(value, str):
        return _text(value, lines)
    whole = clean(json.dumps(value, ensure_ascii=False))
    if len(whole) <= WIDTH:
        return [whole]
    if isinstance(value, list):
        return [_list(cast("list[Any]", value))]
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        if lines == 1:
            return [_shorten(f"{len(items)} keys: {', '.join(str(key) for key, _ in items)}")]
        return _cut([_shorten(f"{key}: {brief(item, lines=1)[0]}") for key, item in items], lines)
    return [_shorten(whole)]


def _text(value: str, lines: int) -> list[str]:
    return _cut(clean(value).splitlines() or [""], lines)


def _cut(all_lines: list[str], lines: int) -> list[str]:
    """At least one line, which says how many were left out when it is not the last."""
    if len(all_lines) <= lines:
        return all_lines
    shown = max(1, lines - 1)
    more = f"… {len(all_lines) - shown} more lines"
    return [f"{all_lines[0]} {more}"] if lines == 1 else [*all_lines[:shown], more]


def _list(items: list[Any]) -> str:
    match items[-1]:
        case {"type": str() as kind, "content": _} as message:
            text = " ".join(clean(message_text(cast("dict[str, Any]", message))).split())
            return _shorten(f"{len(items)} messages, the last: {kind}: {text}")
        case last:
            return _shorten(f"{len(items)} items, the last: {json.dumps(last, ensure_ascii=False)}")


def _shorten(text: str) -> str:
    one_line = clean(text)
    return one_line if len(one_line) <= WIDTH else one_line[: WIDTH - 1] + "…"
