"""Filters of a search, as SQL.

A filter names fields of an item's value. For each a plain value (equal), a mapping (each member of it on its own), or
operators: `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`. A field that is not there counts as null. The last four compare
numbers as numbers and text as text; what is of another kind than the operand does not match. (The stock Postgres store
compares everything as text, where 10 comes before 9.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from treadle.errors import InvalidRequest
from treadle.json import jsonb_text

COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
OPERATORS = ("$eq", "$ne", *COMPARISONS)
DEEPEST = 20

# A piece of SQL for psycopg, and its parameters.
Condition = tuple[str, list[Any]]


def conditions(filter: Mapping[str, Any]) -> list[Condition]:  # noqa: A002 - as the store's interface has it
    """What an item's `value` must fulfil; all of them.

    Raises:
        InvalidRequest: an operator is unknown, or its operand cannot be compared.
    """
    return [found for field, wanted in filter.items() for found in _of_field([field], wanted)]


def _of_field(path: list[str], wanted: Any) -> Iterator[Condition]:
    if len(path) > DEEPEST:
        raise InvalidRequest(f"filter: it is deeper than {DEEPEST} mappings.")
    if not isinstance(wanted, Mapping):
        yield _equal(path, wanted)
        return
    members = cast("Mapping[str, Any]", wanted)
    if any(name.startswith("$") for name in members):
        yield from (_operator(path, name, operand) for name, operand in members.items())
        return
    yield f"jsonb_typeof({_FIELD}) = 'object'", [_names(path)]
    for name, member in members.items():
        yield from _of_field([*path, name], member)


_FIELD = "store.value #> %s::text[]"


def _equal(path: list[str], wanted: Any) -> Condition:
    return f"coalesce({_FIELD}, 'null') = %s::jsonb", [_names(path), _jsonb(wanted)]


def _operator(path: list[str], name: str, operand: Any) -> Condition:
    if name == "$eq":
        return _equal(path, operand)
    if name == "$ne":
        return f"coalesce({_FIELD}, 'null') <> %s::jsonb", [_names(path), _jsonb(operand)]
    where = f"filter.{'.'.join(path)}"
    if name not in COMPARISONS:
        raise InvalidRequest(f"{where}: Unsupported operator {name!r}. Send one of: {', '.join(OPERATORS)}")
    if isinstance(operand, bool) or not isinstance(operand, str | int | float):
        raise InvalidRequest(f"{where}.{name}: it compares with a number or a text, not with {operand!r}.")
    kind = "string" if isinstance(operand, str) else "number"
    return (
        f"(jsonb_typeof({_FIELD}) = '{kind}' and {_FIELD} {COMPARISONS[name]} %s::jsonb)",
        [_names(path), _names(path), _jsonb(operand)],
    )


def _names(path: list[str]) -> list[str]:
    return [name.replace("\0", "") for name in path]


def _jsonb(value: Any) -> str:
    try:
        return jsonb_text(json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"))
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"filter: {error}. It compares with JSON values.") from error
