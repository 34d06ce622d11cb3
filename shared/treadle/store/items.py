"""What an item may be, so that Postgres can hold it."""

from __future__ import annotations

import json as stdlib
from collections.abc import Mapping, Sequence
from typing import Any

from treadle.errors import InvalidRequest
from treadle.json import jsonb_text

# An entry of a B-tree index ends at 2,704 bytes, and the table has an index on namespace and key.
MOST_NAME_BYTES = 2_000


def check_name(namespace: Sequence[str], key: str) -> None:
    """Refuse a name that the table's index cannot hold.

    Raises:
        InvalidRequest: names the problem.
    """
    if "\0" in key:
        raise InvalidRequest(f"key: {key!r} has a NUL in it, which Postgres cannot hold. Leave it out.")
    size = len(".".join((*namespace, key)).encode("utf-8", "replace"))
    if size > MOST_NAME_BYTES:
        raise InvalidRequest(
            f"key: namespace and key take {size} bytes together; an item is found by at most {MOST_NAME_BYTES}. "
            "Put what is long into the value."
        )


def storable(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that `jsonb` can hold: without NUL, half surrogates replaced.

    Raises:
        InvalidRequest: it holds what is not JSON. Said to the one who puts it, before others' puts are with it in one
            batch, which fails as a whole.
    """
    try:
        text = stdlib.dumps(dict(value), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"value: {error}. An item's value is a mapping of text, numbers, booleans, lists and mappings."
        ) from error
    return stdlib.loads(jsonb_text(text.encode("utf-8", "replace")))
