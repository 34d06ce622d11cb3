"""`select`: which fields of a state are wanted, and which keys of its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from msgspec import UNSET, Struct
from msgspec.structs import replace

from treadle.errors import InvalidRequest
from treadle_api.views.states import StateView

FIELDS = StateView.__struct_fields__
KEY = "values."


class Selection(Struct, frozen=True):
    """Fields, and keys of the values; no keys: all of them."""

    fields: frozenset[str]
    keys: frozenset[str]

    def of(self, state: StateView) -> StateView:
        """The selected part of a state."""
        part = replace(state, **{name: UNSET for name in FIELDS if name not in self.fields})
        if self.keys and isinstance(part.values, Mapping):
            values = cast("Mapping[str, Any]", part.values)
            part.values = {key: value for key, value in values.items() if key in self.keys}
        return part


EVERYTHING = Selection(frozenset(FIELDS), frozenset())


def read_selection(names: Iterable[str] | None) -> Selection:
    """What is wanted; nothing named means everything.

    Args:
        names: each a name, or several with commas in between.

    Raises:
        InvalidRequest: a state has no such field.
    """
    wanted = {name for item in names or () for name in item.split(",") if name}
    if not wanted:
        return EVERYTHING
    keys = {name.removeprefix(KEY) for name in wanted if name.startswith(KEY)}
    fields = {name for name in wanted if not name.startswith(KEY)}
    if unknown := fields.difference(FIELDS):
        raise InvalidRequest(f"select: {min(unknown)[:64]!r} is not one of: {', '.join(FIELDS)}, {KEY}<key>")
    return Selection(
        frozenset(fields | {"values"} if keys else fields),
        frozenset() if "values" in fields else frozenset(keys),
    )
